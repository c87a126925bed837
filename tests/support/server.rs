//! Other people's servers: [`Server`] is one that runs, [`nginx`] is nginx with what all of its uses here share.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use super::{Folder, wait_for};

/// A server that is stopped with its holder.
pub struct Server(Child);

impl Server {
    /// Starts it, and waits until it accepts there.
    pub fn start(mut command: Command, address: SocketAddr) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{program} cannot be run: {error}; tests/run installs it")
            });
        wait_for(&program, || {
            assert!(child.try_wait().unwrap().is_none(), "{command:?} ended");
            TcpStream::connect(address).ok()
        });
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Workers end with their master only when it is asked to.
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.0.wait();
    }
}

/// nginx with these directives in its `http`; its files, and `nginx.log`, are in the folder.
pub fn nginx(dir: &Folder, http: &str, address: SocketAddr) -> Server {
    let root = dir.path("");
    let config = format!(
        "daemon off; worker_processes 1; pid {root}nginx.pid; error_log {root}nginx.log info;\n\
         events {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path {root}b; proxy_temp_path {root}p; fastcgi_temp_path {root}f;\n\
         uwsgi_temp_path {root}u; scgi_temp_path {root}s;\n{http}}}\n"
    );
    let (file, log) = (dir.path("nginx.conf"), dir.path("nginx.log"));
    fs::write(&file, config).unwrap();
    let mut command = Command::new("nginx");
    command.args(["-p", &root, "-c", &file, "-e", &log]);
    Server::start(command, address)
}
