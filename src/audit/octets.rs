//! Fields of the journal's own binary forms: big-endian integers, and octets after their length. [`Fields`]
//! reads them in order; the `put_` functions write them.

/// What is left to be read.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(&'a [u8]);

/// The octets end inside a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it ends inside a field")]
pub struct Short;

impl<'a> Fields<'a> {
    pub const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Short> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, Short> {
        self.array().map(u8::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Short> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Short> {
        self.array().map(u64::from_be_bytes)
    }

    /// Octets after their length in one octet.
    pub fn short(&mut self) -> Result<&'a [u8], Short> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// Octets after their length in four octets.
    pub fn long(&mut self) -> Result<&'a [u8], Short> {
        let length = usize::try_from(self.u32()?).map_err(|_| Short)?;
        self.take(length)
    }
}

/// Octets after their length in one octet. What is longer is cut: no field of ours can be, since names are
/// bounded by the configuration and digests by their algorithms.
pub fn put_short(out: &mut Vec<u8>, octets: &[u8]) {
    let length = u8::try_from(octets.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend(octets.iter().take(usize::from(length)));
}

/// Octets after their length in four octets.
pub fn put_long(out: &mut Vec<u8>, octets: &[u8]) {
    let length = u32::try_from(octets.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(octets);
}
