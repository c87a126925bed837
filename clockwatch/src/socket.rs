//! The socket that records leave by: [`Listener::new`] takes its place in the file system, [`Listener::push`]
//! gives a record to everyone who is connected. Nothing is read from them, and nobody is waited for.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{FlockOperation, flock},
    io::Errno,
    net::{
        AddressFamily, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, accept_with,
        bind, connect, listen, send, shutdown, socket_with, sockopt::set_socket_send_buffer_size,
    },
    time::Timespec,
};

/// How many may be connected: the daemon, and a few people who look.
pub const MOST_PEERS: usize = 16;

/// Octets that wait for a peer, before the kernel doubles them: some twenty records with what the kernel adds
/// to each. Whoever is further behind has nothing to gain from them.
const SEND_BUFFER: usize = 16 * 1024;

const BACKLOG: i32 = 16;

/// A socket that others can connect to.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    peers: Vec<OwnedFd>,
}

/// Why there is no listening.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("the directory {0} cannot be opened: {1}")]
    Directory(PathBuf, io::Error),
    #[error("the path {0} is too long for a socket")]
    PathTooLong(PathBuf),
    #[error("another gnomon-clockwatch serves {0}")]
    Served(PathBuf),
    #[error("another process is about to listen in the directory {0}")]
    Contended(PathBuf),
    #[error("{0} is there and is no socket of gnomon-clockwatch")]
    Foreign(PathBuf),
    #[error("listening on {0} failed: {1}")]
    Io(PathBuf, io::Error),
}

impl Listener {
    /// Listens at `path`, in the place of a socket whose owner is gone.
    pub fn new(path: &Path, mode: u32) -> Result<Self, ListenError> {
        let failed = |error: io::Error| ListenError::Io(path.to_owned(), error);
        let address = SocketAddrUnix::new(path).map_err(|error| match error {
            Errno::NAMETOOLONG => ListenError::PathTooLong(path.to_owned()),
            other => failed(other.into()),
        })?;
        let socket = seqpacket().map_err(|error| failed(error.into()))?;
        // Of two that start at once, one would take the other's new socket for a dead one.
        let _locked = locked_directory(path)?;
        match bind(&socket, &address) {
            Err(Errno::ADDRINUSE) => {
                remove_dead(path, &address)?;
                bind(&socket, &address)
            }
            bound => bound,
        }
        .map_err(|error| failed(error.into()))?;
        // Before anybody can connect.
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
        listen(&socket, BACKLOG).map_err(|error| failed(error.into()))?;
        Ok(Self {
            socket,
            peers: Vec::new(),
        })
    }

    /// Lets others connect for this long. Who comes when all places are taken is sent away.
    pub fn accept_for(&mut self, time: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(time).map_err(io::Error::other)?;
        let ready = poll(
            &mut [PollFd::new(&self.socket, PollFlags::IN)],
            Some(&timeout),
        );
        match ready {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(peer) => {
                if self.peers.len() >= MOST_PEERS {
                    // Those who are gone would be missed only by the next record.
                    self.peers.retain(is_here);
                }
                if self.peers.len() < MOST_PEERS && prepared(&peer) {
                    self.peers.push(peer);
                }
                Ok(())
            }
            // It was gone again, or a signal came.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(()),
            // Those who are here go on; the next comes in when there is room again.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                thread::sleep(time);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a record to everyone; who does not keep up, or is gone, is dropped.
    pub fn push(&mut self, record: &[u8]) {
        self.peers.retain(|peer| {
            let sent = send(peer, record, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            sent == Ok(record.len())
        });
    }
}

/// The peer's writes fail, so that nothing it says lies here; and little waits for it.
fn prepared(peer: &OwnedFd) -> bool {
    shutdown(peer, Shutdown::Read).is_ok() && set_socket_send_buffer_size(peer, SEND_BUFFER).is_ok()
}

fn is_here(peer: &OwnedFd) -> bool {
    let mut hung_up = [PollFd::new(peer, PollFlags::empty())];
    poll(&mut hung_up, Some(&Timespec::default())) == Ok(0)
}

fn seqpacket() -> rustix::io::Result<OwnedFd> {
    socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

/// The directory of `path`, locked until it is dropped.
fn locked_directory(path: &Path) -> Result<File, ListenError> {
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str() != OsStr::new("") => parent,
        _ => Path::new("."),
    };
    let file = File::open(directory)
        .map_err(|error| ListenError::Directory(directory.to_owned(), error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::AGAIN) => Err(ListenError::Contended(directory.to_owned())),
        Err(error) => Err(ListenError::Directory(directory.to_owned(), error.into())),
    }
}

/// Removes the socket at `path` if nobody listens there.
fn remove_dead(path: &Path, address: &SocketAddrUnix) -> Result<(), ListenError> {
    let failed = |error: io::Error| ListenError::Io(path.to_owned(), error);
    let found = fs::symlink_metadata(path).map_err(failed)?;
    // Connecting to a plain file is refused as well.
    if !found.file_type().is_socket() {
        return Err(ListenError::Foreign(path.to_owned()));
    }
    let socket = seqpacket().map_err(|error| failed(error.into()))?;
    match connect(&socket, address) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(failed),
        // With its queue full it is alive, too.
        Ok(()) | Err(Errno::AGAIN) => Err(ListenError::Served(path.to_owned())),
        Err(Errno::PROTOTYPE) => Err(ListenError::Foreign(path.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}
