//! The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): [`read`] takes the header that a proxy sends
//! before anything else, and gives the client's address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Version 2 begins with it, version 1 with `PROXY `.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1 (2.1), with its end.
const LONGEST_LINE: usize = 107;

/// What may follow the fixed part of version 2; addresses have 36 octets at most, the rest is for extensions.
const LONGEST_REST: usize = 4096;

/// The address that the header names; `None` where it is the proxy itself that connects, or no TCP client.
///
/// `Err` is a connection that does not begin with a header, and must be closed.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<IpAddr>, NoHeader> {
    let mut head = [0; 12];
    fill(stream, &mut head).await?;
    if head == SIGNATURE {
        return version_2(stream).await;
    }
    let mut line = head.to_vec();
    while !line.ends_with(b"\r\n") {
        // An octet at a time, since what follows is not ours to take.
        let mut next = [0];
        fill(stream, &mut next).await?;
        line.extend_from_slice(&next);
        if line.len() > LONGEST_LINE || !line.starts_with(b"PROXY ") {
            return Err(NoHeader);
        }
    }
    version_1(&line)
}

/// Something else came than the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin with the PROXY protocol")]
pub struct NoHeader;

async fn fill<S: AsyncRead + Unpin>(stream: &mut S, octets: &mut [u8]) -> Result<(), NoHeader> {
    let read = stream.read_exact(octets).await;
    read.map(|_| ()).map_err(|_| NoHeader)
}

fn version_1(line: &[u8]) -> Result<Option<IpAddr>, NoHeader> {
    let line = line.strip_suffix(b"\r\n").ok_or(NoHeader)?;
    let line = std::str::from_utf8(line).map_err(|_| NoHeader)?;
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return Err(NoHeader);
    }
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let address = |word: Option<&str>| word?.parse::<IpAddr>().ok();
    let port = |word: Option<&str>| word?.parse::<u16>().ok();
    let (source, destination) = (address(words.next()), address(words.next()));
    let ports = (port(words.next()), port(words.next()));
    let (Some(source), Some(_), (Some(_), Some(_)), None) =
        (source, destination, ports, words.next())
    else {
        return Err(NoHeader);
    };
    match (family, source) {
        (Some("TCP4"), IpAddr::V4(_)) | (Some("TCP6"), IpAddr::V6(_)) => Ok(Some(source)),
        _ => Err(NoHeader),
    }
}

async fn version_2<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<IpAddr>, NoHeader> {
    let mut head = [0; 4];
    fill(stream, &mut head).await?;
    let [version_and_command, family, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_REST {
        return Err(NoHeader);
    }
    let mut rest = vec![0; length];
    fill(stream, &mut rest).await?;
    match (version_and_command, family) {
        // LOCAL: the proxy's own connection, to see whether we are well.
        (0x20, _) => Ok(None),
        // PROXY, TCP over IPv4 and IPv6; source address first.
        (0x21, 0x11) if length >= 12 => {
            let source: [u8; 4] = first(&rest)?;
            Ok(Some(Ipv4Addr::from(source).into()))
        }
        (0x21, 0x21) if length >= 36 => {
            let source: [u8; 16] = first(&rest)?;
            Ok(Some(Ipv6Addr::from(source).into()))
        }
        (0x21, 0x11 | 0x21) => Err(NoHeader),
        // Another family, which 2.2 asks to take for an unknown client.
        (0x21, _) => Ok(None),
        _ => Err(NoHeader),
    }
}

fn first<const N: usize>(octets: &[u8]) -> Result<[u8; N], NoHeader> {
    octets.first_chunk().copied().ok_or(NoHeader)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, and what is left for HTTP.
    fn reads(octets: &[u8]) -> (Result<Option<String>, NoHeader>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let mut stream = octets;
        let read = runtime.unwrap().block_on(read(&mut stream));
        (
            read.map(|address| address.map(|address| address.to_string())),
            stream.len(),
        )
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [
            &SIGNATURE[..],
            &[command, family, length[0], length[1]],
            rest,
            b"GET",
        ]
        .concat()
    }

    #[test]
    fn version_1_is_a_line() {
        let some = |text: &str| Ok(Some(text.to_owned()));
        for (line, address) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 443", some("192.0.2.1")),
            ("PROXY TCP6 2001:db8::1 ::1 65535 443", some("2001:db8::1")),
            ("PROXY UNKNOWN", Ok(None)),
            ("PROXY UNKNOWN whatever else", Ok(None)),
        ] {
            let read = reads(format!("{line}\r\nGET").as_bytes());
            assert_eq!(read, (address, 3), "{line}");
        }
        for wrong in [
            "",
            "GET / HTTP/1.1\r\n\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            "PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXYTCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        ] {
            assert_eq!(reads(wrong.as_bytes()).0, Err(NoHeader), "{wrong}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
        assert_eq!(reads(long.as_bytes()).0, Err(NoHeader));
    }

    #[test]
    fn version_2_is_binary() {
        let (four, mut six) = ([192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 1, 187], [0; 40]);
        six[0] = 0x20;
        assert_eq!(
            reads(&v2(0x21, 0x11, &four)),
            (Ok(Some("192.0.2.1".into())), 3)
        );
        assert_eq!(reads(&v2(0x21, 0x21, &six)), (Ok(Some("2000::".into())), 3));
        assert_eq!(reads(&v2(0x20, 0, &[])), (Ok(None), 3));
        assert_eq!(reads(&v2(0x20, 0x11, &four)), (Ok(None), 3));
        assert_eq!(reads(&v2(0x21, 0x31, &[0; 216])), (Ok(None), 3));
        for (command, family, rest) in [
            (0x21, 0x11, &four[..11]),
            (0x21, 0x21, &six[..35]),
            (0x11, 0x11, &four[..]),
            (0x22, 0x11, &four[..]),
        ] {
            assert_eq!(reads(&v2(command, family, rest)).0, Err(NoHeader));
        }
        assert_eq!(reads(&v2(0x21, 0x11, &[0; 5000])).0, Err(NoHeader));
        assert_eq!(reads(&v2(0x21, 0x11, &four)[..20]).0, Err(NoHeader));
    }
}
