//! What is read of a journal that somebody may have altered: segments with their frames and records, checkpoints,
//! proofs, and the paths of tiles.
#![no_main]

use gnomon::{
    audit::{checkpoint::Checkpoint, proof::Proof, record::Record, tile::Tile},
    io::journal::reader::{Piece, pieces},
};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    for piece in pieces(input) {
        let Piece::Frame(_, frame) = piece else {
            continue;
        };
        for parts in frame.records().unwrap_or_default() {
            let _ = parts.belong();
            if let Ok(record) = Record::parse(parts.public) {
                let _ = record.private(parts.private);
            }
        }
    }
    if let Ok(record) = Record::parse(input) {
        let _ = record.private(input);
    }
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let _ = Checkpoint::unverified(text);
    if let Ok(proof) = Proof::parse(text) {
        assert_eq!(Proof::parse(&proof.to_string()), Ok(proof));
    }
    if let Some(tile) = Tile::parse(text) {
        assert_eq!(tile.to_string(), text);
    }
});
