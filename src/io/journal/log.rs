//! The public log as it grows: [`Log`] adds leaves to the tree, writes tiles and entries as they fill, and signs
//! a checkpoint when told to. All of it lies under `log/`, just as it is served.

use std::{io, ops::Range, sync::Arc};

use aws_lc_rs::signature::Ed25519KeyPair;

use super::disk::Disk;
use crate::audit::{
    checkpoint::{Checkpoint, NoteError, VerifierKey},
    tile::Tile,
    tree::{FullTile, Hash, Nodes, TILE_HEIGHT, TILE_WIDTH, Tree, leaf_hash, node_hash, widths},
};

/// The folder of everything that is public.
pub const FOLDER: &str = "log";

/// The key that signs checkpoints, with its public half.
#[derive(Debug)]
pub struct LogKey {
    pub pair: Ed25519KeyPair,
    pub public: VerifierKey,
}

/// The tree's right edge, and what is not yet in a full tile.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    key: Arc<LogKey>,
    tree: Tree,
    /// Entries of the last bundle, each after its length in two octets.
    bundle: Vec<u8>,
    /// The size of the last signed checkpoint.
    signed: u64,
    /// Tiles that have become full since then. The partial ones in their place are still needed: a start takes the
    /// tree up from those that the checkpoint on the disk has.
    filled: Vec<Tile>,
}

/// Why the log cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{name}: {error}")]
    File { name: String, error: io::Error },
    #[error(
        "log/checkpoint: {0}; if the log's key was changed on purpose, the journal needs a new folder too"
    )]
    Checkpoint(NoteError),
    #[error("log/{name}: it has not the length that the checkpoint's tree of {size} needs")]
    Tile { name: String, size: u64 },
    #[error(
        "the tiles under log/ do not give the root that the checkpoint of size {0} has: they were altered"
    )]
    Root(u64),
    #[error(
        "the last entries under log/ are not those of the checkpoint of size {0}: they were altered"
    )]
    Entries(u64),
}

/// The name of a file of the log.
pub fn name(path: &str) -> String {
    format!("{FOLDER}/{path}")
}

/// The checkpoint on the disk, if there is one.
pub fn checkpoint(disk: &dyn Disk) -> io::Result<Option<String>> {
    match disk.read(&name("checkpoint")) {
        Ok(note) => Ok(Some(String::from_utf8_lossy(&note).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Log {
    /// Takes the log up where its last checkpoint left it; the tree is empty where there is none.
    pub fn open(disk: Arc<dyn Disk>, key: Arc<LogKey>) -> Result<Self, LogError> {
        let note = checkpoint(&*disk).map_err(|error| LogError::File {
            name: name("checkpoint"),
            error,
        })?;
        let Some(note) = note else {
            return Ok(Self::empty(disk, key));
        };
        let checkpoint = Checkpoint::open(&note, &key.public).map_err(LogError::Checkpoint)?;
        // What was read may have been in memory alone, and counts as signed from now on.
        let name = name("checkpoint");
        disk.sync(&name)
            .map_err(|error| LogError::File { name, error })?;
        let size = checkpoint.size;
        let tiles = Tiles::new(&*disk, size);
        let mut rows = Vec::new();
        for (level, width) in (0..).zip(widths(size)) {
            rows.push(match width {
                0 => Vec::new(),
                _ => tiles.edge(level)?,
            });
        }
        let tree = Tree::from_edge(size, rows).ok_or(LogError::Root(size))?;
        if tree.root() != checkpoint.root {
            return Err(LogError::Root(size));
        }
        let bundle = match size % TILE_WIDTH {
            0 => Bundle::default(),
            width => {
                let tile = Tile {
                    level: None,
                    index: size / TILE_WIDTH,
                    width,
                };
                tiles.bundle(tile, tiles.read(tile)?)?
            }
        };
        // It will be part of a full one, whose leaves the tree has: what is altered must not be gone on with.
        let leaves = tree.edge().first().map(Vec::as_slice).unwrap_or_default();
        let Some(bundle) = bundle.of_leaves(leaves) else {
            return Err(LogError::Entries(size));
        };
        Ok(Self {
            disk,
            key,
            tree,
            bundle,
            signed: size,
            filled: Vec::new(),
        })
    }

    /// A log without leaves.
    pub fn empty(disk: Arc<dyn Disk>, key: Arc<LogKey>) -> Self {
        Self {
            disk,
            key,
            tree: Tree::default(),
            bundle: Vec::new(),
            signed: 0,
            filled: Vec::new(),
        }
    }

    pub const fn size(&self) -> u64 {
        self.tree.size()
    }

    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// Adds a record's public part, whose leaf hash is `leaf`.
    pub fn add(&mut self, public: &[u8], leaf: Hash) -> io::Result<()> {
        let length = u16::try_from(public.len()).map_err(io::Error::other)?;
        self.bundle.extend_from_slice(&length.to_be_bytes());
        self.bundle.extend_from_slice(public);
        for full in self.tree.push(leaf) {
            if full.level == 0 {
                let bundle = std::mem::take(&mut self.bundle);
                self.put_full(None, full.index, &bundle)?;
            }
            let FullTile {
                level,
                index,
                hashes,
            } = full;
            self.put_full(Some(level), index, hashes.as_flattened())?;
        }
        Ok(())
    }

    fn put_full(&mut self, level: Option<u8>, index: u64, octets: &[u8]) -> io::Result<()> {
        let tile = Tile {
            level,
            index,
            width: TILE_WIDTH,
        };
        self.disk.put(&name(&tile.to_string()), octets)?;
        self.filled.push(tile);
        Ok(())
    }

    /// Signs the tree as it is, unless that was done; gives the size. Everything that the checkpoint stands for
    /// is durable before it is.
    pub fn checkpoint(&mut self) -> io::Result<u64> {
        let size = self.tree.size();
        if size == self.signed {
            return Ok(size);
        }
        for (level, row) in (0u8..).zip(self.tree.edge()) {
            let width = u64::try_from(row.len()).map_err(io::Error::other)?;
            let covered = |size: u64| size >> (TILE_HEIGHT * u32::from(level));
            // What the last checkpoint has already is not put again: a power loss could leave it torn.
            if width == 0 || covered(size) == covered(self.signed) {
                continue;
            }
            let index = covered(size) / TILE_WIDTH;
            let put = |level, octets: &[u8]| {
                let tile = Tile {
                    level,
                    index,
                    width,
                };
                self.disk.put(&name(&tile.to_string()), octets)
            };
            put(Some(level), row.as_flattened())?;
            if level == 0 {
                put(None, &self.bundle)?;
            }
        }
        self.disk.sync_all()?;
        let checkpoint = Checkpoint {
            origin: self.key.public.name().to_owned(),
            size,
            root: self.tree.root(),
        };
        let note = checkpoint.sign(&self.key.public, &self.key.pair);
        self.disk
            .put_durably(&name("checkpoint"), note.as_bytes())?;
        self.signed = size;
        // Partial ones may go when the full one is there (C2SP tlog-tiles).
        for tile in self.filled.drain(..) {
            self.disk.forget(&format!("{}.p", name(&tile.to_string())));
        }
        Ok(size)
    }
}

/// The tiles of the tree of a certain size, read from the disk; the last one of each row is remembered.
#[derive(Debug)]
pub struct Tiles<'a> {
    disk: &'a dyn Disk,
    size: u64,
    read: Vec<Option<(u64, Vec<Hash>)>>,
}

impl<'a> Tiles<'a> {
    pub const fn new(disk: &'a dyn Disk, size: u64) -> Self {
        Self {
            disk,
            size,
            read: Vec::new(),
        }
    }

    /// A file of the log as it is.
    pub fn read(&self, tile: Tile) -> Result<Vec<u8>, LogError> {
        let name = name(&tile.to_string());
        self.disk
            .read(&name)
            .map_err(|error| LogError::File { name, error })
    }

    /// A bundle of entries that the tree of this size has: the full one where it is there, else the partial one.
    pub fn entries(&self, index: u64) -> Result<Bundle, LogError> {
        let width = self.size.saturating_sub(index * TILE_WIDTH);
        let (tile, octets) = self.read_at_least(None, index, width.min(TILE_WIDTH))?;
        self.bundle(tile, octets)
    }

    fn bundle(&self, tile: Tile, octets: Vec<u8>) -> Result<Bundle, LogError> {
        Bundle::parse(octets, tile.width).ok_or_else(|| LogError::Tile {
            name: tile.to_string(),
            size: self.size,
        })
    }

    /// A tile of this width, or the full one: where the tree has grown since, that has taken the place.
    fn read_at_least(
        &self,
        level: Option<u8>,
        index: u64,
        width: u64,
    ) -> Result<(Tile, Vec<u8>), LogError> {
        let tile = |width| Tile {
            level,
            index,
            width,
        };
        let (wanted, full) = (tile(width), tile(TILE_WIDTH));
        match self.read(wanted) {
            Err(LogError::File { error, .. })
                if !wanted.is_full() && error.kind() == io::ErrorKind::NotFound =>
            {
                Ok((full, self.read(full)?))
            }
            octets => Ok((wanted, octets?)),
        }
    }

    /// The partial tile at the end of a row. The full one would not do, were it there: it is not durable before the
    /// next checkpoint, nor are those before it where the tree was made anew.
    fn edge(&self, level: u8) -> Result<Vec<Hash>, LogError> {
        let covered = self.size >> (TILE_HEIGHT * u32::from(level));
        let tile = Tile {
            level: Some(level),
            index: covered / TILE_WIDTH,
            width: covered % TILE_WIDTH,
        };
        self.whole(tile, &self.read(tile)?).map(<[_]>::to_vec)
    }

    /// A tile's hashes, if it has as many as it should.
    fn whole<'o>(&self, tile: Tile, octets: &'o [u8]) -> Result<&'o [Hash], LogError> {
        let (hashes, rest) = octets.as_chunks();
        let is_whole = u64::try_from(hashes.len()).is_ok_and(|count| count == tile.width);
        (is_whole && rest.is_empty())
            .then_some(hashes)
            .ok_or_else(|| LogError::Tile {
                name: tile.to_string(),
                size: self.size,
            })
    }

    /// The hashes of a tile that the tree of this size has: the full one where it is there, else the partial one.
    pub fn hashes(&mut self, level: u8, index: u64) -> Result<Vec<Hash>, LogError> {
        let at = usize::from(level);
        if let Some(Some((remembered, hashes))) = self.read.get(at)
            && *remembered == index
        {
            return Ok(hashes.clone());
        }
        let covered = self
            .size
            .checked_shr(TILE_HEIGHT * u32::from(level))
            .unwrap_or(0);
        let width = covered.saturating_sub(index * TILE_WIDTH).min(TILE_WIDTH);
        let (tile, octets) = self.read_at_least(Some(level), index, width)?;
        let all = self.whole(tile, &octets)?;
        let width = usize::try_from(width).unwrap_or(0);
        let hashes: Vec<_> = all.iter().take(width).copied().collect();
        if self.read.len() <= at {
            self.read.resize(at + 1, None);
        }
        if let Some(remembered) = self.read.get_mut(at) {
            *remembered = Some((index, hashes.clone()));
        }
        Ok(hashes)
    }
}

/// A bundle of entries, taken apart.
#[derive(Debug, Default)]
pub struct Bundle {
    octets: Vec<u8>,
    entries: Vec<Range<usize>>,
}

impl Bundle {
    /// `None` where the octets are not `count` entries, each after its length in two octets.
    fn parse(octets: Vec<u8>, count: u64) -> Option<Self> {
        let (mut at, mut entries) = (0, Vec::new());
        while at < octets.len() {
            let length = octets.get(at..)?.first_chunk()?;
            let start = at + length.len();
            at = start + usize::from(u16::from_be_bytes(*length));
            octets.get(start..at)?;
            entries.push(start..at);
        }
        let whole = u64::try_from(entries.len()) == Ok(count);
        whole.then_some(Self { octets, entries })
    }

    /// The first octets, as long as there are `leaves`; `None` where an entry has another leaf.
    fn of_leaves(mut self, leaves: &[Hash]) -> Option<Vec<u8>> {
        let mut end = 0;
        for (at, leaf) in leaves.iter().enumerate() {
            self.entry(at).filter(|entry| leaf_hash(entry) == *leaf)?;
            end = self.entries.get(at)?.end;
        }
        self.octets.truncate(end);
        Some(self.octets)
    }

    /// The entry at this place, 0 to 255.
    pub fn entry(&self, at: usize) -> Option<&[u8]> {
        let Range { start, end } = self.entries.get(at)?;
        self.octets.get(*start..*end)
    }
}

impl Nodes for Tiles<'_> {
    type Error = LogError;

    fn node(&mut self, height: u32, index: u64) -> Result<Hash, LogError> {
        let level = u8::try_from(height / TILE_HEIGHT).unwrap_or(u8::MAX);
        // The tile's hashes below this node, from `start` on.
        let below = height % TILE_HEIGHT;
        let start = index << below;
        let hashes = self.hashes(level, start / TILE_WIDTH)?;
        let start = usize::try_from(start % TILE_WIDTH).unwrap_or(0);
        let mut row = hashes
            .get(start..start + (1 << below))
            .unwrap_or_default()
            .to_vec();
        while row.len() > 1 {
            let pairs = row.as_chunks::<2>().0;
            row = pairs
                .iter()
                .map(|[left, right]| node_hash(left, right))
                .collect();
        }
        row.first().copied().ok_or_else(|| LogError::Tile {
            name: format!("tile/{level}"),
            size: self.size,
        })
    }
}
