//! The watchdog and the threads that serve: one that does not come back from what it does answers none of its
//! connections, and only a new process has it back.

mod support;

use std::{fs::File, process::Stdio};

use support::{
    Folder, Gnomon, gnomon,
    hang::Hang,
    prepare,
    systemd::{PATIENCE, Systemd},
};

#[test]
fn it_starves_while_a_thread_that_serves_does_not_come_back() {
    let dir = Folder::new();
    let (listen, admin) = prepare(&dir);
    let systemd = Systemd::listen(&dir);
    let mut command = gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
    command
        .envs(Systemd::environment(&dir))
        .stderr(Stdio::from(File::create(dir.join("log")).unwrap()));
    let gnomon = Gnomon::started(command, dir, listen, admin);
    assert_eq!(systemd.hears(PATIENCE).unwrap(), "READY=1");
    for _ in 0..3 {
        assert_eq!(systemd.hears(PATIENCE).unwrap(), "WATCHDOG=1");
    }
    let hang = Hang::of_thread(&gnomon, "http-0", "epoll_wait,epoll_pwait");
    systemd.hears_nothing_more();
    let log = std::fs::read_to_string(gnomon.dir.join("log")).unwrap();
    let said = "GN1005 a thread that serves requests does not come back from one";
    assert!(log.contains(said), "{log}");
    drop(hang);
    assert_eq!(systemd.hears(PATIENCE).unwrap(), "WATCHDOG=1");
}
