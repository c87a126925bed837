//! Real chronyds on loopback, and the clock's helper beside them. [`Chronyd::server`] is a source of time,
//! [`Chronyd::client`] follows sources as the appliance's chronyd would, [`Clockwatch`] asks a client and
//! [`Peer`] takes its records; a [`ReferenceClock`] is a source that the test itself feeds. None of them touches
//! the system's clock (`-x`), each has ports and files of its own, and all end with their holders.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use gnomon::clock::report::{LENGTH, Report, Tracking};
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
        socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use super::{Folder, run, wait_for};

/// Four questions a second, from the first one on.
pub const FAST: &str = "iburst minpoll -2 maxpoll -2";

/// A chronyd, running or stopped.
pub struct Chronyd {
    dir: Folder,
    /// Where it answers `gnomon-clockwatch`.
    pub command_port: u16,
    /// Where it serves time, if it does.
    pub serves: SocketAddr,
    config: String,
    child: Option<Child>,
}

impl Chronyd {
    /// A source of stratum 1 that says whatever the system's clock says. chronyd tells sources apart by address,
    /// so each needs a `number` of its own: it serves at 127.0.0.`number`.
    pub fn server(number: u8) -> Self {
        Self::server_with(number, "local stratum 1\n")
    }

    /// The same by other lines: `local stratum 1\nmanual\n` takes `chronyc settime`.
    pub fn server_with(number: u8, lines: &str) -> Self {
        let address = Ipv4Addr::new(127, 0, 0, number);
        let serves = SocketAddr::from((address, free_udp_port(address)));
        let lines = format!(
            "{lines}bindaddress {address}\nport {}\nallow 127.0.0.0/8\n",
            serves.port()
        );
        Self::new(serves, lines)
    }

    /// One that follows sources: lines such as [`Chronyd::source`] and [`ReferenceClock::source`] give.
    pub fn client(lines: &[String]) -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::new(nowhere, format!("{}\nport 0\n", lines.join("\n")))
    }

    fn new(serves: SocketAddr, config: String) -> Self {
        let dir = Folder::new();
        // chronyd makes its command socket only where nobody else could.
        run("chmod", &["700", &dir.path("")]);
        let mut chronyd = Self {
            command_port: free_udp_port(Ipv4Addr::LOCALHOST),
            serves,
            config,
            child: None,
            dir,
        };
        chronyd.start();
        chronyd
    }

    /// The line that makes a client follow this server, with options such as [`FAST`] or `offset 0.25`.
    pub fn source(&self, options: &str) -> String {
        format!(
            "server {} port {} {options}",
            self.serves.ip(),
            self.serves.port()
        )
    }

    /// Starts it (again).
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let path = |name: &str| self.dir.path(name);
        let config = format!(
            "{}\npidfile {}\ncmdport {}\nbindcmdaddress 127.0.0.1\nbindcmdaddress {}\n",
            self.config,
            path("pid"),
            self.command_port,
            path("command.sock"),
        );
        fs::write(path("chrony.conf"), config).unwrap();
        let _ = fs::remove_file(path("pid"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(path("log"))
            .unwrap();
        let user = run("id", &["-un"]);
        // -x: leaves the system's clock alone; -d: stays and logs here; -U, -u: as whoever runs the test.
        let child = Command::new("/usr/sbin/chronyd")
            .args(["-x", "-d", "-U", "-u", user.trim()])
            .args(["-f", &path("chrony.conf")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("chronyd cannot be run: {error}; tests/run installs it")
            });
        self.child = Some(child);
        wait_for("chronyd's start", || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "chronyd ended: {}", self.log());
            // The last thing it makes.
            self.dir.join("pid").exists().then_some(())
        });
    }

    /// Ends it without a farewell.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.kill();
        self.start();
    }

    /// Ends it and starts it with other sources; for clients.
    pub fn restart_with(&mut self, lines: &[String]) {
        self.kill();
        self.config = format!("{}\nport 0\n", lines.join("\n"));
        self.start();
    }

    /// Holds it still, until [`Chronyd::go_on`].
    pub fn stop(&self) {
        self.signal("STOP");
    }

    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        run("kill", &[&format!("-{name}"), &pid]);
    }

    /// What an operator would order: `&["settime", "..."]`, `&["offline"]`.
    pub fn chronyc(&self, arguments: &[&str]) -> String {
        let socket = self.dir.path("command.sock");
        run("chronyc", &[&["-h", &socket], arguments].concat())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap()
    }
}

impl Drop for Chronyd {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // SIGKILL ends a stopped process, too.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A reference clock (chrony's SOCK) that says what the test says, ten times a second.
pub struct ReferenceClock {
    dir: Folder,
    name: String,
    says: Arc<Mutex<Option<Sample>>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    offset: f64,
    leap: i32,
}

impl ReferenceClock {
    /// One that agrees with the system's clock. The name has four characters.
    pub fn new(name: &str) -> Self {
        let dir = Folder::new();
        run("chmod", &["700", &dir.path("")]);
        let says = Arc::new(Mutex::new(Some(Sample {
            offset: 0.0,
            leap: 0,
        })));
        let (stop, stopped) = mpsc::channel();
        let (path, told) = (dir.join("sock"), says.clone());
        let thread = std::thread::spawn(move || {
            let socket = UnixDatagram::unbound().unwrap();
            while stopped.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout)
            {
                let sample = *told.lock().unwrap();
                if let Some(sample) = sample {
                    // Until chronyd listens, and while it is down, nobody takes it.
                    let _ = socket.send_to(&sample.octets(), &path);
                }
            }
        });
        Self {
            dir,
            name: name.to_owned(),
            says,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// The line that makes a client follow it, with options such as `delay 0.001` or `offset 0.25`.
    pub fn source(&self, options: &str) -> String {
        let (path, name) = (self.dir.path("sock"), &self.name);
        format!("refclock SOCK {path} refid {name} poll -2 dpoll -3 filter 1 {options}")
    }

    /// From now on the true time is said to be that of the system's clock and so many seconds.
    pub fn says(&self, offset: f64) {
        *self.says.lock().unwrap() = Some(Sample { offset, leap: 0 });
    }

    /// From now on a leap second is announced: 1 insert, 2 delete. chronyd believes it on the last day of June and
    /// of December alone.
    pub fn announces(&self, leap: i32) {
        *self.says.lock().unwrap() = Some(Sample { offset: 0.0, leap });
    }

    /// Says nothing any more, until [`ReferenceClock::says`].
    pub fn falls_silent(&self) {
        *self.says.lock().unwrap() = None;
    }
}

impl Drop for ReferenceClock {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().unwrap().join();
    }
}

impl Sample {
    /// chrony's `struct sock_sample`, in the host's own layout.
    fn octets(self) -> Vec<u8> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let mut octets = Vec::new();
        octets.extend(now.as_secs().to_ne_bytes());
        octets.extend(u64::from(now.subsec_micros()).to_ne_bytes());
        octets.extend(self.offset.to_ne_bytes());
        let [pulse, padding, magic] = [0, 0, 0x534f_434b];
        for number in [pulse, self.leap, padding, magic] {
            octets.extend(number.to_ne_bytes());
        }
        octets
    }
}

/// A running gnomon-clockwatch.
pub struct Clockwatch {
    /// Where it gives its records away.
    pub socket: PathBuf,
    child: Child,
    dir: Option<Folder>,
}

impl Clockwatch {
    /// The helper of the chronyd with this command port.
    pub fn start(command_port: u16) -> Self {
        Self::start_with(command_port, &[])
    }

    /// The same with further options, such as `--interval`.
    pub fn start_with(command_port: u16, options: &[&str]) -> Self {
        let dir = Folder::new();
        let mut clockwatch = Self::at(&dir.join("clock.sock"), command_port, options);
        clockwatch.dir = Some(dir);
        clockwatch
    }

    /// The same at a socket in somebody else's folder.
    pub fn at(socket: &Path, command_port: u16, options: &[&str]) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(socket.with_extension("log"))
            .unwrap();
        let mut child = clockwatch(socket, command_port)
            .args(options)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        wait_for("the helper's start", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "gnomon-clockwatch ended: {ended:?}");
            Peer::connect(socket).ok()
        });
        Self {
            socket: socket.to_owned(),
            child,
            dir: None,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Who takes its records from now on.
    pub fn peer(&self) -> Peer {
        Peer::connect(&self.socket).unwrap()
    }

    /// Sends a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        run("kill", &[&format!("-{name}"), &self.pid().to_string()]);
    }

    /// Ends it without a farewell; its socket stays behind.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it has said on standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.socket.with_extension("log")).unwrap()
    }
}

impl Drop for Clockwatch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The gnomon-clockwatch of this build, as it would be started.
pub fn clockwatch(socket: &Path, command_port: u16) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_gnomon")).with_file_name("gnomon-clockwatch");
    assert!(
        program.exists(),
        "cargo build -p gnomon-clockwatch makes {}",
        program.display()
    );
    let mut command = Command::new(program);
    command.arg("--socket").arg(socket);
    command.args(["--chronyd", &format!("127.0.0.1:{command_port}")]);
    command
}

/// Someone who takes records.
pub struct Peer(OwnedFd);

impl Peer {
    pub fn connect(socket: &Path) -> Result<Self, Errno> {
        let address = SocketAddrUnix::new(socket)?;
        let peer = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        connect(&peer, &address)?;
        set_socket_timeout(&peer, Timeout::Recv, Some(Duration::from_secs(10)))?;
        Ok(Self(peer))
    }

    /// The next record as it came; nothing at the helper's end.
    pub fn octets(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; LENGTH + 1];
        loop {
            match recv(&self.0, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) | Err(Errno::CONNRESET) => return None,
                Ok((length, _)) => return Some(buffer[..length].to_vec()),
                // A wait with a time-out ends when the process was held still.
                Err(Errno::INTR) => {}
                Err(error) => panic!("no record came: {error}"),
            }
        }
    }

    /// The next record, which must be one.
    pub fn report(&self) -> Report {
        let octets = self.octets().expect("the helper has ended");
        Report::parse(&octets).unwrap()
    }

    /// Takes records until one is as asked for.
    pub fn until<T>(&self, what: &str, mut ask: impl FnMut(Report) -> Option<T>) -> T {
        wait_for(what, || ask(self.report()))
    }

    /// Takes records until the chronyd behind them has synchronised: no leap warning, a stratum.
    pub fn synchronised(&self) -> Tracking {
        self.until("chronyd to synchronise", |report| {
            report
                .chronyd
                .ok()
                .filter(|tracking| tracking.leap != 3 && tracking.stratum > 0)
        })
    }
}

/// A UDP port that the kernel says is free at this address.
fn free_udp_port(address: Ipv4Addr) -> u16 {
    UdpSocket::bind((address, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
