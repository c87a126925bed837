//! Sockets that systemd opens: over a restart they stay open, so that no connection is refused and each is answered.

mod support;

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::io::{FdFlags, fcntl_setfd};
use support::{Folder, Gnomon, free_port, http, prepare, stamps, text, wait_for};

/// Held by each test: what one passes on would be inherited by what another starts.
static ALONE: Mutex<()> = Mutex::new(());

/// `gnomon serve` with these sockets passed to it, as systemd would.
fn passed(dir: &Folder, sockets: &[&TcpListener]) -> Command {
    let mut script = String::new();
    for (number, socket) in sockets.iter().enumerate() {
        // Only what is not to be closed is inherited; it gets the number that sd_listen_fds(3) wants.
        fcntl_setfd(socket, FdFlags::empty()).unwrap();
        let (wanted, has) = (3 + number, socket.as_raw_fd());
        assert!(has >= 3 + i32::try_from(sockets.len()).unwrap(), "{has}");
        script += &format!("exec {wanted}<&{has}; ");
    }
    script += &format!(
        "LISTEN_PID=$$ LISTEN_FDS={} exec \"$0\" serve --config \"$1\"",
        sockets.len()
    );
    let mut command = Command::new("bash");
    command.args([
        "-c",
        &script,
        env!("CARGO_BIN_EXE_gnomon"),
        &dir.path("gnomon.toml"),
    ]);
    command
}

/// A listening socket with a number that is not wanted for anything.
fn listening(address: SocketAddr) -> TcpListener {
    let mut spent = Vec::new();
    loop {
        let socket = TcpListener::bind(address).unwrap();
        if socket.as_raw_fd() >= 10 {
            return socket;
        }
        drop(socket);
        spent.push(fs::File::open("/dev/null").unwrap());
    }
}

#[test]
fn a_restart_refuses_no_connection() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Folder::new();
    let (listen, admin) = prepare(&dir);
    let (public, operator) = (listening(listen), listening(admin));
    // In another order than the configuration's.
    let sockets = [&operator, &public];
    let request = stamps::post("/tsa", &stamps::query(&dir));
    let mut gnomon = Gnomon::started(passed(&dir, &sockets), dir, listen, admin);
    let stop = Arc::new(AtomicBool::new(false));
    let client = || {
        let (stop, request) = (Arc::clone(&stop), request.clone());
        thread::spawn(move || {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                // Panics where it is refused, or ends without an answer.
                let answer = http(listen, &request);
                assert!(stamps::Stamp::granted(&answer.body).is_some());
                count += 1;
            }
            count
        })
    };
    let clients: Vec<_> = (0..4).map(|_| client()).collect();
    let mut restarts = 0;
    while restarts < 5 {
        thread::sleep(Duration::from_millis(300));
        gnomon.signal("TERM");
        let (status, dir) = gnomon.ended();
        assert!(status.success());
        // Nobody is there at all.
        let waiting = TcpStream::connect(listen).unwrap();
        thread::sleep(Duration::from_millis(100));
        gnomon = Gnomon::started(passed(&dir, &sockets), dir, listen, admin);
        drop(waiting);
        restarts += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let answered: Vec<u32> = clients.into_iter().map(|one| one.join().unwrap()).collect();
    assert!(answered.iter().all(|count| *count > 20), "{answered:?}");
    println!("{restarts} restarts, {answered:?} requests");
}

#[test]
fn what_systemd_passes_must_be_what_is_configured() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Folder::new();
    let (listen, admin) = prepare(&dir);
    let (public, stray) = (listening(listen), listening(free_port()));
    let output = passed(&dir, &[&public, &stray]).output().unwrap();
    let said = text(&output);
    let expected = format!(
        "listen: systemd has passed a socket for {}, which is in none of listen, tls.listen and admin",
        stray.local_addr().unwrap()
    );
    assert!(
        output.status.code() == Some(78) && said.contains(&expected),
        "{said}"
    );
    // What is passed for somebody else is left alone, and the sockets are free again to be bound.
    drop((public, stray));
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon"));
    let config = dir.path("gnomon.toml");
    command
        .args(["serve", "--config", &config])
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "9");
    let gnomon = Gnomon::started(command, dir, listen, admin);
    assert_eq!(gnomon.ready().0, 200);
}

#[test]
fn systemd_starts_it_with_the_first_connection() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = Folder::new();
    let (listen, admin) = prepare(&dir);
    let request = stamps::post("/tsa", &stamps::query(&dir));
    let mut systemd = Command::new("systemd-socket-activate");
    for address in [listen, admin] {
        systemd.args(["--listen", &address.to_string()]);
    }
    systemd
        .args([
            env!("CARGO_BIN_EXE_gnomon"),
            "serve",
            "--config",
            &dir.path("gnomon.toml"),
        ])
        .stderr(Stdio::null());
    let client = thread::spawn(move || {
        let connected = || TcpStream::connect(listen).ok();
        drop(wait_for("systemd to listen", connected));
        http(listen, &request)
    });
    let gnomon = Gnomon::started(systemd, dir, listen, admin);
    let answer = client.join().unwrap();
    assert!(stamps::Stamp::granted(&answer.body).is_some());
    gnomon.signal("TERM");
    assert!(gnomon.ended().0.success());
}
