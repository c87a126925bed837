//! The serials that a CA has pushed, on disk: [`read`] takes them in, [`Appender`] adds to them durably. A file of
//! frames, each with a checksum, one frame for all pushes that shared a sync: 33 octets for a serial of 16 that came
//! alone, 21 in company.
//!
//! A frame is the octets `GNI1`, the length of its body, a CRC-32C, and the body; the checksum is over the frame's
//! place in the file (eight octets) and the body. The body is one record a serial: its last day in two octets (days
//! since 1970, 0 where it is not known), its shard in two (likewise), its length in one, and its octets. Integers are big-endian.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
};

use crate::{
    audit::octets::{Fields, Short, put_short},
    io::journal::disk::sync_name,
    revocation::{LastDay, Serials, Shard, Told},
};

/// The first octets of every frame; the last one is the format's version.
const MAGIC: [u8; 4] = *b"GNI1";

/// Magic, length, checksum.
const HEADER: usize = 12;

/// All pushes that can wait at once are shorter.
const LONGEST_BODY: usize = 256 << 20;

/// What stands in a file.
#[derive(Debug, Default)]
pub struct Contents {
    pub serials: Serials,
    /// Where the last whole frame ends.
    pub end: u64,
    /// What a crash left behind it.
    pub torn: u64,
    /// Where something else than a frame stands before a frame, and how many octets it has.
    pub damage: Option<(u64, u64)>,
}

/// Reads a file; one that is not there has nothing in it. Changes nothing.
pub fn read(path: &Path) -> io::Result<Contents> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
        file => file?,
    };
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut contents = Contents::default();
    let mut frame = Vec::new();
    loop {
        frame.clear();
        let end = contents.end;
        next(&mut file, &mut frame)?;
        if frame.is_empty() {
            return Ok(contents);
        }
        if take(&frame, end, &mut contents.serials).is_some() {
            contents.end += octets(frame.len());
            continue;
        }
        // Rare enough to be read whole.
        file.seek(SeekFrom::Start(end))?;
        frame.clear();
        file.read_to_end(&mut frame)?;
        let Some(gap) = later_frame(&frame, end) else {
            contents.torn = octets(frame.len());
            return Ok(contents);
        };
        // None where another process has just written it to its end.
        if gap > 0 {
            let (first, more) = contents.damage.unwrap_or((end, 0));
            contents.damage = Some((first, more + gap));
        }
        contents.end += gap;
        file.seek(SeekFrom::Start(contents.end))?;
    }
}

/// Reads as much of a frame as there is.
fn next(file: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<()> {
    file.by_ref().take(octets(HEADER)).read_to_end(frame)?;
    if let Some(length) = body_length(frame) {
        file.by_ref().take(octets(length)).read_to_end(frame)?;
    }
    Ok(())
}

/// What the header says, where it can be one.
fn body_length(header: &[u8]) -> Option<usize> {
    let mut fields = Fields::new(header);
    let magic: [u8; 4] = fields.array().ok()?;
    let length = usize::try_from(fields.u32().ok()?).ok()?;
    (magic == MAGIC && length <= LONGEST_BODY).then_some(length)
}

/// Takes the serials of the frame at the beginning of `octets`, if there is a whole one.
fn take(octets: &[u8], at: u64, serials: &mut Serials) -> Option<()> {
    let length = body_length(octets)?;
    let mut fields = Fields::new(octets.get(8..)?);
    let expected = fields.u32().ok()?;
    let body = fields.take(length).ok()?;
    if checksum(at, body) != expected {
        return None;
    }
    let records = || {
        let mut fields = Fields::new(body);
        std::iter::from_fn(move || {
            let more = !fields.rest().is_empty();
            more.then(|| record(&mut fields))
        })
    };
    if records().any(|record| record.is_err()) {
        return None;
    }
    serials.extend(records().flatten());
    Some(())
}

fn record<'a>(fields: &mut Fields<'a>) -> Result<(&'a [u8], Told), Short> {
    let last_day = LastDay::new(u16::from_be_bytes(fields.array()?));
    let shard = Shard::new(u16::from_be_bytes(fields.array()?));
    Ok((fields.short()?, Told { last_day, shard }))
}

/// Two frames of one content differ by their place, so that no body can be taken for a frame.
fn checksum(at: u64, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&at.to_be_bytes()), body)
}

/// How far behind the beginning of `rest`, which stands at `at`, a whole frame begins.
fn later_frame(rest: &[u8], at: u64) -> Option<u64> {
    let mut starts = rest.windows(MAGIC.len()).enumerate();
    starts.find_map(|(gap, window)| {
        if window != MAGIC {
            return None;
        }
        let place = at + octets(gap);
        take(rest.get(gap..)?, place, &mut Serials::default()).map(|()| octets(gap))
    })
}

fn octets(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Adds frames to a file that nobody else writes to.
#[derive(Debug)]
pub struct Appender {
    file: File,
    end: u64,
    /// A sync has failed: the kernel may have dropped what was written, and a later sync that succeeds would prove
    /// nothing.
    failed: bool,
}

impl Appender {
    /// Where the file ends; none when it is not known what of it is on the disk.
    pub fn end(&self) -> Option<u64> {
        (!self.failed).then_some(self.end)
    }

    /// Opens or makes the file, takes it for this process, and cuts off the `torn` octets behind `end`.
    pub fn open(path: &Path, end: u64, torn: u64) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
            sync_name(folder)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        file.try_lock()
            .map_err(|error| io::Error::other(format!("another process writes to it: {error}")))?;
        if file.metadata()?.len() != end + torn {
            return Err(io::Error::other("another process has written to it"));
        }
        file.set_len(end)?;
        file.sync_all()?;
        sync_name(path)?;
        Ok(Self {
            file,
            end,
            failed: false,
        })
    }

    /// Adds these serials: durably and all of them, or none.
    pub fn append<'a>(
        &mut self,
        serials: impl Iterator<Item = (&'a [u8], Told)>,
    ) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other(
                "an earlier sync failed, and what is on the disk is not known until a restart",
            ));
        }
        let mut frame = vec![0; HEADER];
        for (serial, told) in serials {
            frame.extend_from_slice(&told.last_day.number().to_be_bytes());
            frame.extend_from_slice(&told.shard.number().to_be_bytes());
            put_short(&mut frame, serial);
        }
        let body = frame.get(HEADER..).unwrap_or_default();
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let checksum = checksum(self.end, body);
        let header = [MAGIC, length.to_be_bytes(), checksum.to_be_bytes()];
        for (to, from) in frame.iter_mut().zip(header.as_flattened()) {
            *to = *from;
        }
        if let Err(error) = self.file.write_all_at(&frame, self.end) {
            // A part of a frame is no frame, and the next one would come in its place; but a full disk needs the room.
            let _ = self.file.set_len(self.end);
            return Err(error);
        }
        self.file.sync_data().inspect_err(|_| self.failed = true)?;
        self.end += octets(frame.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::revocation::Issued;

    /// A file that goes when the test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("gnomon-pushed-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name).join("serials"))
        }

        fn contains(&self) -> (Contents, Issued) {
            let mut contents = read(&self.0).unwrap();
            let serials = std::mem::take(&mut contents.serials);
            (contents, Issued::new(serials))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.parent().unwrap());
        }
    }

    fn add(file: &mut Appender, serials: &[u8]) {
        let day = LastDay::new(20_000);
        let serials = serials.iter().map(std::slice::from_ref);
        file.append(serials.map(|serial| (serial, day.into())))
            .unwrap();
    }

    #[test]
    fn what_was_added_is_read_again_and_a_torn_tail_is_cut() {
        let scratch = Scratch::new("torn");
        assert_eq!(read(&scratch.0).unwrap().end, 0);
        let mut file = Appender::open(&scratch.0, 0, 0).unwrap();
        assert!(Appender::open(&scratch.0, 0, 0).is_err(), "one process");
        add(&mut file, &[1]);
        let end = file.end;
        add(&mut file, &[2, 3]);
        drop(file);
        let whole = fs::read(&scratch.0).unwrap();
        for length in 0..=whole.len() {
            fs::write(&scratch.0, &whole[..length]).unwrap();
            let (contents, issued) = scratch.contains();
            let length = octets(length);
            assert_eq!(contents.damage, None);
            assert_eq!(issued.contains(&[1]), length >= end, "{length}");
            assert_eq!(issued.contains(&[3]), length >= octets(whole.len()));
            assert_eq!(contents.end + contents.torn, length);
            let mut file = Appender::open(&scratch.0, contents.end, contents.torn).unwrap();
            add(&mut file, &[4]);
            drop(file);
            let (contents, issued) = scratch.contains();
            assert!(issued.contains(&[4]) && contents.torn == 0);
            assert!(issued.not_after(&[4]).is_some());
        }
        // A crash can leave zeros too.
        fs::write(&scratch.0, [&whole[..], &[0; 99]].concat()).unwrap();
        assert_eq!(scratch.contains().0.torn, 99);
    }

    #[test]
    fn damage_costs_the_frame_that_has_it() {
        let scratch = Scratch::new("damage");
        let mut file = Appender::open(&scratch.0, 0, 0).unwrap();
        let mut ends = vec![0];
        for serial in 1..=3 {
            add(&mut file, &[serial]);
            ends.push(file.end);
        }
        drop(file);
        let whole = fs::read(&scratch.0).unwrap();
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 0x10;
            fs::write(&scratch.0, &altered).unwrap();
            let (contents, issued) = scratch.contains();
            let hit = ends.iter().filter(|end| **end <= octets(at)).count();
            for serial in 1..=3 {
                assert_eq!(
                    issued.contains(&[serial]),
                    usize::from(serial) != hit,
                    "{at}"
                );
            }
            assert_eq!(issued.len(), 2);
            let (start, end) = (ends[hit - 1], ends[hit]);
            if hit == 3 {
                assert_eq!((contents.damage, contents.torn), (None, end - start));
            } else {
                assert_eq!(
                    (contents.damage, contents.torn),
                    (Some((start, end - start)), 0)
                );
            }
        }
        // A frame that was moved is none.
        let moved = whole[usize::try_from(ends[1]).unwrap()..].to_vec();
        fs::write(&scratch.0, moved).unwrap();
        assert!(scratch.contains().1.is_empty());
    }

    #[test]
    fn a_full_disk_leaves_nothing_half_taken() {
        // Nothing can be written to this device.
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut full = Appender {
            file,
            end: 0,
            failed: false,
        };
        let error = full.append([(&[1][..], Told::default())].into_iter());
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((full.end, full.failed), (0, false));
    }
}
