//! Where the parts of the public log stand: [`Tile`] is one file of C2SP tlog-tiles, named by its path.

use std::fmt;

use super::tree::TILE_WIDTH;

/// A tile of hashes, or a bundle of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// The row of hashes; `None` for entries.
    pub level: Option<u8>,
    pub index: u64,
    /// Hashes or entries in it, 1 to 256. Under 256 it is a partial one.
    pub width: u64,
}

impl Tile {
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// Reads a path such as `tile/0/x001/x234/067.p/12`. Only the one form that the specification allows.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = match level {
            "entries" => None,
            number => Some(number.parse().ok().filter(|level| *level < 64)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (
                number,
                width.parse().ok().filter(|width| *width < TILE_WIDTH)?,
            ),
            None => (rest, TILE_WIDTH),
        };
        let mut index = 0u64;
        for part in number.split('/') {
            let digits = part.strip_prefix('x').unwrap_or(part);
            let part: u64 = digits.parse().ok().filter(|_| digits.len() == 3)?;
            index = index.checked_mul(1000)?.checked_add(part)?;
        }
        let tile = Self {
            level,
            index,
            width,
        };
        // Other spellings of the same number would be other names of one thing.
        (width > 0 && tile.to_string() == path).then_some(tile)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "tile/{level}/")?,
            None => f.write_str("tile/entries/")?,
        }
        let digits = self.index.to_string();
        let groups = digits.len().div_ceil(3).max(1);
        let padded = format!("{digits:0>width$}", width = groups * 3);
        for group in 0..groups {
            let part = padded.get(group * 3..group * 3 + 3).unwrap_or_default();
            let last = group + 1 == groups;
            write!(
                f,
                "{}{part}{}",
                if last { "" } else { "x" },
                if last { "" } else { "/" }
            )?;
        }
        if self.is_full() {
            return Ok(());
        }
        write!(f, ".p/{}", self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification_and_no_others() {
        let tile = |level, index, width| Tile {
            level,
            index,
            width,
        };
        for (path, expected) in [
            ("tile/0/000", tile(Some(0), 0, 256)),
            ("tile/3/x001/x234/067", tile(Some(3), 1_234_067, 256)),
            ("tile/entries/x001/000.p/255", tile(None, 1_000, 255)),
        ] {
            assert_eq!(Tile::parse(path), Some(expected));
            assert_eq!(expected.to_string(), path);
        }
        for wrong in [
            "tile/0/0",
            "tile/0/x000/000",
            "tile/00/000",
            "tile/64/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/../000",
            "tile/0/001/000",
            "tile/0/+01",
            "tile/0/x001",
            "tile/x/000",
            "tile/0",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Tile::parse(wrong), None, "{wrong}");
        }
    }
}
