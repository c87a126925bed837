//! Which serials an issuer has given out: [`Serials`] are collected line by line or from certificates, and become
//! [`Issued`], an exact set in 19.5 octets for a serial of 16. Without it a serial that is on no CRL cannot be told
//! from one that never was.

mod table;

use std::sync::Arc;

use super::index::canonical;
use crate::wire::{algorithm::DigestAlgorithm, time::Seconds};
use table::{Table, put_row, rows};

/// No serial has more octets: RFC 5280 4.1.2.2 allows 20, and some CAs have overdone it.
const LONGEST: usize = 64;

/// A set that comes behind another one stays a set of its own until it is this part of it. So a serial is moved a few
/// times for each power of eight of all there are, and a look-up goes through few sets.
const GROWTH: usize = 8;

/// The day on which a certificate ends: what is kept of its notAfter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LastDay(u16);

impl LastDay {
    /// Of a notAfter that nobody told.
    pub const UNKNOWN: Self = Self(0);

    /// As it was given by [`LastDay::number`].
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Days since 1970; 0 where it is not known.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The day's last second: a notAfter is not later.
    fn end(self) -> Option<Seconds> {
        match self.0 {
            0 => None,
            // In the year 2149, or "no well-defined end".
            u16::MAX => Some(Seconds::END),
            days => Some(Seconds::new((u64::from(days) + 1) * 86_400 - 1)),
        }
    }
}

impl From<Seconds> for LastDay {
    fn from(not_after: Seconds) -> Self {
        let days = u16::try_from(not_after.get() / 86_400).unwrap_or(u16::MAX);
        Self(days.max(1))
    }
}

/// On which of an issuer's CRLs a certificate would be, by the name of the distribution point. A hash of it is kept:
/// two names that share one are taken for one shard, of which then both CRLs are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Shard(u16);

impl Shard {
    /// Of a certificate that may be on any.
    pub const UNKNOWN: Self = Self(0);

    /// How many there are: what is left of the three octets beside the day.
    const MOST: u32 = 511;

    /// By a name of its distribution point.
    pub fn of(name: &str) -> Self {
        let digest = DigestAlgorithm::Sha256.digest(name.as_bytes());
        let number = digest.as_ref().iter().fold(0, |sum: u32, octet| {
            (sum * 256 + u32::from(*octet)) % Self::MOST
        });
        Self(u16::try_from(number + 1).unwrap_or(0))
    }

    /// As it was given by [`Shard::number`].
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// 1 to 511; 0 where it is not known.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// What is told of a serial beside that it was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    pub last_day: LastDay,
    pub shard: Shard,
}

impl Told {
    /// Both together; of two shards one stays, since a certificate has one.
    fn and(self, other: Self) -> Self {
        Self {
            last_day: self.last_day.max(other.last_day),
            shard: self.shard.max(other.shard),
        }
    }

    /// Three octets: a day in 15 bits, a shard in 9.
    fn packed(self) -> [u8; 3] {
        let day = u32::from(self.last_day.0).min(LATEST);
        let [_, packed @ ..] = (day << 9 | u32::from(self.shard.0 & 0x1ff)).to_be_bytes();
        packed
    }

    fn unpacked([a, b, c]: [u8; 3]) -> Self {
        let packed = u32::from_be_bytes([0, a, b, c]);
        let day = match packed >> 9 {
            LATEST => u16::MAX,
            day => u16::try_from(day).unwrap_or(u16::MAX),
        };
        let shard = u16::try_from(packed & 0x1ff).unwrap_or(0);
        Self {
            last_day: LastDay(day),
            shard: Shard(shard),
        }
    }
}

/// A day in 2059; what ends later is kept as having no end.
const LATEST: u32 = (1 << 15) - 1;

impl From<LastDay> for Told {
    fn from(last_day: LastDay) -> Self {
        Self {
            last_day,
            shard: Shard::UNKNOWN,
        }
    }
}

/// A line of a list is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: `{text}` {what}")]
pub struct IssuedError {
    /// From 1.
    pub line: usize,
    /// The start of what stands there.
    pub text: String,
    what: &'static str,
}

const NO_SERIAL: &str = "is not a hexadecimal serial; write one a line, `#` begins a comment";
const TOO_LONG: &str = "is longer than any serial, which has at most 64 octets";
const NO_NOT_AFTER: &str =
    "is no notAfter; behind a serial may stand YYYY-MM-DD, YYYY-MM-DDTHH:MM:SSZ or -";

/// Serials on their way into a set.
#[derive(Debug, Default)]
pub struct Serials {
    /// For each length of serials their rows.
    lengths: Vec<(usize, Vec<u8>)>,
}

impl Serials {
    /// The serials of a whole text.
    pub fn parse(text: &[u8]) -> Result<Self, IssuedError> {
        let mut serials = Self::default();
        for (index, line) in text.split(|octet| *octet == b'\n').enumerate() {
            serials.read(index + 1, line)?;
        }
        Ok(serials)
    }

    /// Takes a line with the number `number`: one hexadecimal serial and, behind white space, the notAfter if it is
    /// known (else `-`) and a name of the distribution point if there are several. Blank lines, `#` comments, a leading `0x`, colons between digits and any case are allowed. A serial in a
    /// list is never negative.
    pub fn read(&mut self, number: usize, line: &[u8]) -> Result<(), IssuedError> {
        let mark: &[u8] = if number == 1 { b"\xef\xbb\xbf" } else { b"" };
        let line = line.strip_prefix(mark).unwrap_or(line);
        let line = line.split(|octet| *octet == b'#').next();
        let line = line.unwrap_or_default();
        let (column, line) = first_column(line);
        let wrong = |column: &[u8], what| IssuedError {
            line: number,
            text: String::from_utf8_lossy(column).chars().take(48).collect(),
            what,
        };
        if column.is_empty() {
            return Ok(());
        }
        let mut octets = [0; LONGEST + 1];
        let serial = serial(column, &mut octets).map_err(|what| wrong(column, what))?;
        let (column, line) = first_column(line);
        let last_day = match column {
            b"" | b"-" => LastDay::UNKNOWN,
            column => not_after(column)
                .ok_or_else(|| wrong(column, NO_NOT_AFTER))?
                .into(),
        };
        // A distinguished name has spaces.
        let shard = match line.trim_ascii() {
            b"" => Shard::UNKNOWN,
            name => Shard::of(&String::from_utf8_lossy(name)),
        };
        self.add(serial, Told { last_day, shard });
        Ok(())
    }

    /// Adds a serial by its INTEGER content octets.
    pub fn add(&mut self, serial: &[u8], told: impl Into<Told>) {
        let serial = canonical(serial);
        if serial.is_empty() {
            return;
        }
        let length = serial.len();
        let place = self.lengths.iter().position(|(other, _)| *other == length);
        let place = place.unwrap_or_else(|| {
            self.lengths.push((length, Vec::new()));
            self.lengths.len() - 1
        });
        if let Some((_, octets)) = self.lengths.get_mut(place) {
            put_row(octets, serial, told.into().packed());
        }
    }

    pub const fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// In no order; one that was added twice comes twice.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Told)> {
        let lengths = self.lengths.iter();
        lengths.flat_map(|(length, octets)| with_told(octets, *length))
    }
}

impl<'a> Extend<(&'a [u8], Told)> for Serials {
    fn extend<T: IntoIterator<Item = (&'a [u8], Told)>>(&mut self, serials: T) {
        for (serial, told) in serials {
            self.add(serial, told);
        }
    }
}

/// Serials of any length, each once.
#[derive(Debug)]
struct Set(Vec<Table>);

impl Set {
    fn new(serials: Serials) -> Self {
        let lengths = serials.lengths.into_iter();
        Self(
            lengths
                .map(|(length, rows)| Table::new(length, rows))
                .collect(),
        )
    }

    fn merged(sets: &[Arc<Self>]) -> Self {
        let mut serials = Serials::default();
        let tables = || sets.iter().flat_map(|set| &set.0);
        for table in tables() {
            let length = table.length();
            if serials.lengths.iter().any(|(other, _)| *other == length) {
                continue;
            }
            let same = tables().filter(|other| other.length() == length);
            // With the right capacity: nothing is moved, nothing is left over.
            let rows: Vec<_> = same.map(Table::octets_of_rows).collect();
            serials.lengths.push((length, rows.concat()));
        }
        Self::new(serials)
    }

    fn len(&self) -> usize {
        self.0.iter().map(Table::len).sum()
    }

    fn told(&self, hash: u64, serial: &[u8]) -> Option<Told> {
        let mut tables = self.0.iter();
        let table = tables.find(|table| table.length() == serial.len())?;
        table.told(hash, serial).map(Told::unpacked)
    }
}

/// An exact set of serials. It never changes: [`Issued::plus`] gives another one, which shares what both have.
#[derive(Debug, Clone, Default)]
pub struct Issued {
    /// From large to small, where they come from one source.
    sets: Vec<Arc<Set>>,
}

impl Issued {
    pub fn new(serials: Serials) -> Self {
        Self::default().plus(serials)
    }

    /// This set and these serials.
    #[must_use]
    pub fn plus(&self, serials: Serials) -> Self {
        let new = (!serials.is_empty()).then(|| Arc::new(Set::new(serials)));
        self.with(new)
    }

    /// This set and another one.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.with(other.sets.iter().cloned())
    }

    fn with(&self, new: impl IntoIterator<Item = Arc<Set>>) -> Self {
        let mut sets = self.sets.clone();
        for set in new {
            let mut sum = set.len();
            let mut merged = vec![set];
            while let Some(before) =
                sets.pop_if(|before| before.len() <= sum.saturating_mul(GROWTH))
            {
                sum += before.len();
                merged.push(before);
            }
            if let [_, _, ..] = merged.as_slice() {
                merged = vec![Arc::new(Set::merged(&merged))];
            }
            sets.append(&mut merged);
        }
        Self { sets }
    }

    /// All of these together, each as it is.
    pub fn union<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let sets = parts.into_iter().flat_map(|part| &part.sets);
        Self {
            sets: sets.cloned().collect(),
        }
    }

    /// Whether the serial of these INTEGER content octets is in the set.
    pub fn contains(&self, serial: &[u8]) -> bool {
        self.all_told(serial).next().is_some()
    }

    /// What is told of a serial, by all who have told; `None` where it is not in the set.
    pub fn told(&self, serial: &[u8]) -> Option<Told> {
        self.all_told(serial).reduce(Told::and)
    }

    /// The end of the day on which the certificate of this serial ends; `None` where the serial is not in the set, or
    /// nobody told.
    pub fn not_after(&self, serial: &[u8]) -> Option<Seconds> {
        self.told(serial)?.last_day.end()
    }

    /// Whether the set tells of this serial what is told here.
    pub fn knows(&self, serial: &[u8], told: Told) -> bool {
        let known = self.told(serial);
        known.is_some_and(|known| known.and(told) == known)
    }

    /// How many serials there are; one that comes from several sources counts as often.
    pub fn len(&self) -> usize {
        self.sets.iter().map(|set| set.len()).sum()
    }

    pub const fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// In no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Told)> {
        let tables = self.sets.iter().flat_map(|set| &set.0);
        tables.flat_map(|table| with_told(table.octets_of_rows(), table.length()))
    }

    /// What each set that has the serial says.
    fn all_told(&self, serial: &[u8]) -> impl Iterator<Item = Told> {
        let serial = canonical(serial);
        let hash = table::hash(serial);
        let sets = self.sets.iter();
        sets.filter_map(move |set| set.told(hash, serial))
    }
}

/// What stands before white space, and what behind it.
fn first_column(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii_start();
    let end = line.iter().position(u8::is_ascii_whitespace);
    line.split_at(end.unwrap_or(line.len()))
}

fn with_told(octets: &[u8], length: usize) -> impl Iterator<Item = (&[u8], Told)> {
    rows(octets, length).map(|(serial, told)| (serial, Told::unpacked(told)))
}

/// One serial's content octets, written to the end of `octets`: a zero octet before a set top bit, since lists hold
/// plain numbers.
fn serial<'a>(text: &[u8], octets: &'a mut [u8; LONGEST + 1]) -> Result<&'a [u8], &'static str> {
    let digits = text.strip_prefix(b"0x").or(text.strip_prefix(b"0X"));
    let digits = digits.unwrap_or(text);
    let mut nibbles = 0;
    let mut may_be_colon = false;
    for &character in digits.iter().rev() {
        if character == b':' && may_be_colon {
            may_be_colon = false;
            continue;
        }
        let digit = char::from(character).to_digit(16).ok_or(NO_SERIAL)?;
        let digit = u8::try_from(digit).map_err(|_| NO_SERIAL)?;
        // The first octet stays free for the sign.
        let place = (LONGEST.checked_sub(nibbles / 2)).filter(|place| *place > 0);
        match place.and_then(|place| octets.get_mut(place)) {
            Some(octet) if nibbles % 2 == 0 => *octet = digit,
            Some(octet) => *octet |= digit << 4,
            None if digit == 0 => {}
            None => return Err(TOO_LONG),
        }
        nibbles += 1;
        may_be_colon = true;
    }
    // A colon stands between digits.
    if !may_be_colon {
        return Err(NO_SERIAL);
    }
    Ok(canonical(octets))
}

/// `YYYY-MM-DD`, or an instant in UTC by RFC 3339.
fn not_after(text: &[u8]) -> Option<Seconds> {
    let text = str::from_utf8(text).ok()?;
    let (date, time) = match text.split_once(['T', 't']) {
        Some((date, time)) => (date, time),
        None => (text, "00:00:00Z"),
    };
    let time = time
        .strip_suffix(['Z', 'z'])
        .or(time.strip_suffix("+00:00"))?;
    let time = match time.split_once('.') {
        Some((time, fraction)) => {
            let digits = fraction.bytes().all(|digit| digit.is_ascii_digit());
            (digits && !fraction.is_empty()).then_some(time)?
        }
        None => time,
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let small = |number: u16| u8::try_from(number).ok();
    let time = der::DateTime::new(
        year,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
    );
    time.ok().map(Seconds::from)
}

/// Three numbers of so many digits.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u16; 3]> {
    let mut parts = text.split(between);
    let numbers = digits.map(|digits| {
        let part = parts.next()?;
        let plain = part.len() == digits && part.bytes().all(|digit| digit.is_ascii_digit());
        plain.then(|| part.parse().ok())?
    });
    let [first, second, third] = numbers;
    let numbers = [first?, second?, third?];
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests;
