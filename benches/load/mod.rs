//! What the benches of serving share: [`wrk`] loads a URL, [`cpu`] and [`resident`] say what that costs the server, and
//! [`Nginx`] is what it is compared with.
#![allow(dead_code)] // each bench uses its own part

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::support::{Folder, free_port, raw::process, run, wait_for};

pub const SECONDS: u64 = 4;

/// What a load has come to.
pub struct Load {
    pub requests: f64,
    /// As the client saw it.
    pub per_second: f64,
    /// In milliseconds.
    pub p99: f64,
}

/// Loads `url` over so many connections with so many threads; `lines` are Lua, such as `wrk.method = 'POST'`. Nothing
/// may fail.
pub fn wrk(url: &str, threads: usize, connections: usize, lines: &str) -> Load {
    let folder = Folder::new();
    let script = format!(
        "{lines}\ndone = function(s, l) io.write('requests=' .. s.requests .. ' bad=' .. (s.errors.status + s.errors.read \
         + s.errors.timeout + s.errors.connect) .. ' us=' .. s.duration .. ' p99=' .. l:percentile(99) .. '\\n') end\n"
    );
    fs::write(folder.join("load.lua"), script).unwrap();
    let said = run(
        "wrk",
        &[
            "-t",
            &threads.to_string(),
            "-c",
            &connections.to_string(),
            "-d",
            &format!("{SECONDS}s"),
            "-s",
            &folder.path("load.lua"),
            url,
        ],
    );
    let number = |name: &str| -> f64 {
        let (_, rest) = said.split_once(name).unwrap_or_else(|| panic!("{said}"));
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    assert_eq!(number("bad="), 0.0, "{said}");
    let requests = number("requests=");
    Load {
        requests,
        per_second: requests / (number("us=") / 1e6),
        p99: number("p99=") / 1e3,
    }
}

/// Server CPU seconds per request while 64 kept-alive connections load it.
pub fn cost(url: &str, lines: &str, cpu: impl Fn() -> f64) -> f64 {
    let before = cpu();
    let load = wrk(url, 1, 64, lines);
    (cpu() - before) / load.requests
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// CPU seconds that a process has used.
pub fn cpu(pid: u32) -> f64 {
    used(Path::new(&format!("/proc/{pid}/stat")))
}

/// CPU seconds by the stat file of a process or a thread.
pub fn used(stat: &Path) -> f64 {
    let stat = fs::read_to_string(stat).unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    // utime and stime, in the kernel's ticks of 10 ms (proc(5)).
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Megabytes of resident memory.
pub fn resident(pid: u32) -> f64 {
    process::resident(pid) as f64 / 1e6
}

/// nginx as Debian configures it (a worker for each core, sendfile, tcp_nopush), without access log and with
/// its cache of open files, serving one file.
pub struct Nginx {
    master: Child,
    address: SocketAddr,
    dir: Folder,
}

impl Nginx {
    /// Over plain HTTP.
    pub fn start(size: usize) -> Self {
        Self::serving(size, free_port(), "")
    }

    /// Over TLS, with a certificate and key.
    pub fn over_tls(size: usize, certificate: &str, key: &str) -> Self {
        let tls = format!("ssl_certificate {certificate}; ssl_certificate_key {key};");
        Self::serving(size, free_port(), &tls)
    }

    fn serving(size: usize, address: SocketAddr, tls: &str) -> Self {
        let dir = Folder::new();
        fs::write(dir.join("answer"), vec![0x30; size]).unwrap();
        let (root, ssl) = (dir.path(""), if tls.is_empty() { "" } else { " ssl" });
        let config = format!(
            "daemon off; worker_processes auto; pid {root}pid; error_log {root}error.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;\n\
             open_file_cache max=10; default_type application/ocsp-response;\n\
             client_body_temp_path {root}b; proxy_temp_path {root}p; fastcgi_temp_path {root}f;\n\
             uwsgi_temp_path {root}u; scgi_temp_path {root}s;\n\
             ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers on;\n\
             server {{ listen {address}{ssl}; {tls} root {root}; expires 1h; }} }}\n"
        );
        fs::write(dir.join("nginx.conf"), config).unwrap();
        let mut master = Command::new("nginx")
            .args([
                "-p",
                &root,
                "-c",
                &dir.path("nginx.conf"),
                "-e",
                &dir.path("error.log"),
            ])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("nginx", || {
            assert!(master.try_wait().unwrap().is_none(), "nginx ended");
            std::net::TcpStream::connect(address).ok()
        });
        Self {
            master,
            address,
            dir,
        }
    }

    /// By which scheme it was started for.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/answer", self.address)
    }

    /// Of all workers.
    pub fn cpu(&self) -> f64 {
        let children = format!("/proc/{0}/task/{0}/children", self.master.id());
        let children = fs::read_to_string(children).unwrap();
        children
            .split_whitespace()
            .map(|pid| cpu(pid.parse().unwrap()))
            .sum()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        run("kill", &["-QUIT", &self.master.id().to_string()]);
        let _ = self.master.wait();
        let _ = self.dir.metadata();
    }
}
