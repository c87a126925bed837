//! Which serials an issuer has given out: [`Issued`], read from lists with [`Issued::parse`] or from
//! certificates. Without it a serial that is on no CRL cannot be told from one that never was.

use super::index::canonical;

/// A line of a list is not a serial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: `{text}` is not a hexadecimal serial; write one a line, `#` begins a comment"
)]
pub struct IssuedError {
    /// From 1.
    pub line: usize,
    /// The start of what stands there.
    pub text: String,
}

/// An exact set of serials: sorted runs, one for each length, nothing between the serials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Issued {
    runs: Vec<Run>,
}

/// Serials of one length, end to end, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    length: usize,
    octets: Vec<u8>,
}

impl Issued {
    /// Serials as INTEGER content octets from a text of one hexadecimal serial a line. Blank lines, `#`
    /// comments, a leading `0x`, colons between digits and any case are allowed. A serial in a list is
    /// never negative.
    pub fn parse(text: &str) -> Result<Vec<Vec<u8>>, IssuedError> {
        let mut serials = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            serials.push(serial(line).ok_or_else(|| IssuedError {
                line: index + 1,
                text: line.chars().take(48).collect(),
            })?);
        }
        Ok(serials)
    }

    /// The set of these serials, given as INTEGER content octets.
    pub fn new(mut serials: Vec<Vec<u8>>) -> Self {
        for serial in &mut serials {
            let minimal = canonical(serial).len();
            serial.drain(..serial.len() - minimal);
        }
        serials.sort_unstable_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        serials.dedup();
        let runs = serials
            .chunk_by(|a, b| a.len() == b.len())
            .filter_map(|run| {
                let length = run.first().map(Vec::len).filter(|&length| length > 0)?;
                let octets = run.concat();
                Some(Run { length, octets })
            })
            .collect();
        Self { runs }
    }

    /// Whether the serial of these INTEGER content octets is in the set.
    pub fn contains(&self, serial: &[u8]) -> bool {
        let serial = canonical(serial);
        self.runs
            .iter()
            .find(|run| run.length == serial.len())
            .is_some_and(|run| run.contains(serial))
    }

    /// How many serials there are.
    pub fn len(&self) -> usize {
        self.runs.iter().map(Run::count).sum()
    }

    pub const fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

impl Run {
    fn count(&self) -> usize {
        self.octets.len() / self.length.max(1)
    }

    fn contains(&self, serial: &[u8]) -> bool {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            let at = middle * self.length;
            match self.octets.get(at..at + self.length) {
                Some(found) if found < serial => low = middle + 1,
                Some(found) if found > serial => high = middle,
                found => return found.is_some(),
            }
        }
        false
    }
}

/// One serial's content octets: a zero octet before a set top bit, since lists hold plain numbers.
fn serial(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .strip_prefix("0x")
        .or(text.strip_prefix("0X"))
        .unwrap_or(text);
    let between = |text: &str| text.starts_with(':') || text.ends_with(':') || text.contains("::");
    if between(digits) {
        return None;
    }
    let mut digits: String = digits.chars().filter(|&c| c != ':').collect();
    if digits.is_empty() {
        return None;
    }
    // The leading zeros make the count even and the number positive; the minimal form drops the rest.
    digits.insert_str(
        0,
        if digits.len().is_multiple_of(2) {
            "00"
        } else {
            "000"
        },
    );
    let octets = hex::decode(digits).ok()?;
    Some(canonical(&octets).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_their_usual_forms() {
        let text = "# issued\r\n\n01\n0xAB\n 00:ab:Cd # web\nabc\n000000\n";
        assert_eq!(
            Issued::parse(text).unwrap(),
            [&[1][..], &[0, 0xab], &[0, 0xab, 0xcd], &[0x0a, 0xbc], &[0]]
        );
        assert_eq!(Issued::parse(""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_serial_is_named_by_its_line() {
        for bad in [
            "-01", "0x", "1 2", "1:", ":1", "1::2", "xyz", "\u{e9}1", "V\t1",
        ] {
            let error = Issued::parse(&format!("01\n\n{bad}\n")).unwrap_err();
            assert_eq!(error.line, 3, "{bad}");
            assert!(error.to_string().starts_with("line 3: "));
        }
    }

    #[test]
    fn the_set_is_exact() {
        let mut serials: Vec<_> = (0..5000u32)
            .map(|n| (n * 3).to_be_bytes().to_vec())
            .collect();
        serials.extend([vec![0, 0, 3], vec![0xff], vec![0x7f; 30], vec![]]);
        let issued = Issued::new(serials);
        assert_eq!(issued.len(), 5002);
        for n in 0..15_000u32 {
            assert_eq!(issued.contains(&n.to_be_bytes()), n % 3 == 0, "{n}");
        }
        // -1 was put in, 255 as a multiple of three.
        assert!(issued.contains(&[0xff]) && issued.contains(&[0, 0xff]));
        assert!(issued.contains(&[0x7f; 30]) && !issued.contains(&[0x7f; 29]));
        assert!(!issued.contains(&[]) && !issued.contains(&[0xfd]));
        assert!(!Issued::new(vec![]).contains(&[0]));
    }
}
