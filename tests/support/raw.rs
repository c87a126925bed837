//! Clients that send what no library would: [`tls`] is a TLS stream to write octets into, [`h2`] the frames of HTTP/2
//! (RFC 9113), [`process`] what the daemon holds meanwhile.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{https::Server, wait_for};

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A TLS connection that speaks `alpn`; the chain is verified. Reads and writes time out after a tenth of a second.
pub fn tls(server: &Server, alpn: &[u8]) -> TlsStream {
    let socket = TcpStream::connect(server.https).unwrap();
    let mut stream = StreamOwned::new(client(server, alpn), socket);
    stream.flush().unwrap();
    hasty(&stream.sock);
    stream
}

/// What such a client sends first.
pub fn client_hello(server: &Server) -> Vec<u8> {
    let mut octets = Vec::new();
    client(server, b"h2").write_tls(&mut octets).unwrap();
    octets
}

fn client(server: &Server, alpn: &[u8]) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    let ca = fs::read(server.dir().join("ca.pem")).unwrap();
    roots
        .add(CertificateDer::from_pem_slice(&ca).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::try_from("127.0.0.1").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

/// Calls on `stream` return soon.
pub fn hasty(stream: &TcpStream) {
    let soon = Some(Duration::from_millis(100));
    stream.set_read_timeout(soon).unwrap();
    stream.set_write_timeout(soon).unwrap();
}

/// Whether a call only ran out of time.
pub fn waits(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// All that comes until the server closes; a reset counts as closed.
pub fn rest(stream: &mut impl Read) -> Vec<u8> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut octets = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        assert!(Instant::now() < deadline, "the server kept the connection");
        match stream.read(&mut buffer) {
            Ok(0) => return octets,
            Ok(count) => octets.extend(&buffer[..count]),
            Err(error) if waits(&error) => {}
            Err(_) => return octets,
        }
    }
}

/// What the process of a daemon holds.
pub mod process {
    use super::*;

    pub fn open_files(pid: u32) -> usize {
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
    }

    pub fn threads(pid: u32) -> usize {
        fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
    }

    /// Octets of resident memory.
    pub fn resident(pid: u32) -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.unwrap().split_whitespace().nth(1).unwrap();
        number.parse::<u64>().unwrap() << 10
    }

    /// Waits until no more than `before` files are open.
    pub fn settles(pid: u32, before: usize) {
        wait_for("as few open files as before", || {
            (open_files(pid) <= before).then_some(())
        });
    }
}

/// Frames.
pub mod h2 {
    pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;

    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;

    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// The preface and settings, each a number and its value.
    pub fn opening(settings: &[(u16, u32)]) -> Vec<u8> {
        let settings = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
        let settings: Vec<_> = settings.collect();
        [PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()
    }

    /// A literal field that is not indexed (RFC 7541 6.2.2).
    pub fn field(name: &str, value: &str) -> Vec<u8> {
        let mut block = vec![0];
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend(text.as_bytes());
        }
        block
    }

    /// With a prefix of 7 bits (RFC 7541 5.1).
    fn integer(block: &mut Vec<u8>, mut value: usize) {
        if value < 127 {
            return block.push(u8::try_from(value).unwrap());
        }
        block.push(127);
        value -= 127;
        while value >= 128 {
            block.push(u8::try_from(value % 128).unwrap() | 128);
            value /= 128;
        }
        block.push(u8::try_from(value).unwrap());
    }

    /// The header block of `GET /`: indexed fields of the static table, and an authority.
    pub fn get() -> Vec<u8> {
        [&[0x82, 0x84, 0x87][..], &field(":authority", "test")].concat()
    }

    /// A whole `GET /` on `stream`.
    pub fn request(stream: u32) -> Vec<u8> {
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &get())
    }

    /// The types of the frames in `octets`, with their streams and payloads.
    pub fn frames(mut octets: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
        let mut frames = Vec::new();
        while let [a, b, c, kind, _, d, e, f, g, rest @ ..] = octets {
            let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
            let stream = u32::from_be_bytes([*d, *e, *f, *g]);
            let Some(payload) = rest.get(..length) else {
                break;
            };
            frames.push((*kind, stream, payload.to_vec()));
            octets = &rest[length..];
        }
        frames
    }

    /// The error code of the last GOAWAY, by name (RFC 9113 7).
    pub fn goodbye(octets: &[u8]) -> Option<u32> {
        let frames = frames(octets).into_iter().rev();
        let mut goodbyes = frames.filter(|(kind, ..)| *kind == GOAWAY);
        let (_, _, payload) = goodbyes.next()?;
        Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()))
    }
}
