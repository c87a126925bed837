//! CRLs of any kind, made by Python's `cryptography` ([`make`]), and served by nginx ([`Nginx`]) or by a server that
//! does as it likes ([`Server`]); [`Served`] is a gnomon that follows them.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    Folder, Gnomon, gnomon, prepare, python_script, python_tool, said, server, text, wait_for,
};

/// Makes CRLs of the demo's issuing CA; tests/python/crls.py says what each can be.
pub fn make(dir: &Folder, crls: &[Value]) {
    let mut python = Command::new(python_tool("python"))
        .args([python_script("crls.py"), dir.path("")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let list = Value::from(crls.to_vec()).to_string();
    // Dropped at the end of the statement, which ends the list.
    python
        .stdin
        .take()
        .unwrap()
        .write_all(list.as_bytes())
        .unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

/// nginx over the folder `www`, stopped with its holder.
pub struct Nginx {
    pub address: SocketAddr,
    _server: server::Server,
}

impl Nginx {
    pub fn start(dir: &Folder, address: SocketAddr) -> Self {
        fs::create_dir_all(dir.join("www")).unwrap();
        // To its validators two files of one second and one length are the same, and tests make such.
        let http = format!(
            "default_type application/pkix-crl; server {{ listen {address}; root {}www; etag off;\n\
             if_modified_since off; }}",
            dir.path("")
        );
        let _server = server::nginx(dir, &http, address);
        Self { address, _server }
    }
}

/// A server whose every answer is what the test writes; stopped with its holder.
pub struct Server {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `answer` gets each connection after its request; it is to look at the flag, and end when that is set.
    pub fn start(answer: impl Fn(&mut TcpStream, &AtomicBool) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let mut request = [0; 4096];
                if stream.read(&mut request).is_ok_and(|read| read > 0) {
                    answer(&mut stream, &stopped);
                }
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

/// A gnomon whose log is a file.
pub struct Served(pub Gnomon);

impl std::ops::Deref for Served {
    type Target = Gnomon;

    fn deref(&self) -> &Gnomon {
        &self.0
    }
}

impl Served {
    /// The demo's PKI with this in the place of its CRL, after `before` was done to its folder.
    pub fn start(
        crl: &str,
        edit: impl FnOnce(String) -> String,
        before: impl FnOnce(&Folder),
    ) -> Self {
        let dir = Folder::new();
        let (listen, admin) = prepare(&dir);
        before(&dir);
        let file = dir.join("gnomon.toml");
        let config = fs::read_to_string(&file).unwrap();
        assert!(config.contains("crl = [\"issuing.crl\"]"), "{config}");
        let config = config.replace("crl = [\"issuing.crl\"]", &format!("crl = [{crl}]"));
        fs::write(file, edit(config)).unwrap();
        Self::serve(dir, listen, admin)
    }

    fn serve(dir: Folder, listen: SocketAddr, admin: SocketAddr) -> Self {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("log"));
        let mut command = gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
        command.stderr(log.unwrap());
        Self(Gnomon::started(command, dir, listen, admin))
    }

    /// Kills it, has `meanwhile` done to its folder, and starts it again.
    pub fn killed_and_started(self, meanwhile: impl FnOnce(&Folder)) -> Self {
        let (listen, admin) = (self.listen, self.admin);
        self.signal("KILL");
        let (_, dir) = self.0.ended();
        meanwhile(&dir);
        Self::serve(dir, listen, admin)
    }

    /// Stops it as an operator would.
    pub fn stopped_and_started(self, meanwhile: impl FnOnce(&Folder)) -> Self {
        let (listen, admin) = (self.listen, self.admin);
        self.signal("TERM");
        let (status, dir) = self.0.ended();
        assert!(status.success());
        meanwhile(&dir);
        Self::serve(dir, listen, admin)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap()
    }

    pub fn refresh(&self) {
        let config = self.dir.path("gnomon.toml");
        super::run(
            env!("CARGO_BIN_EXE_gnomon"),
            &["crl", "refresh", "--config", &config],
        );
    }

    /// Makes CRLs, and has them looked at.
    pub fn publish(&self, crls: &[Value]) {
        make(&self.dir, crls);
        self.refresh();
    }

    pub fn until(&self, name: &str, expected: &str) {
        wait_for(expected, || self.says(name, expected).then_some(()));
    }

    pub fn says(&self, name: &str, expected: &str) -> bool {
        self.ask(name, &[]).contains(expected)
    }

    /// Waits until this stands in what was logged behind `from` octets.
    pub fn logged(&self, from: usize, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !self.log()[from..].contains(what) {
            assert!(
                Instant::now() < deadline,
                "no `{what}` in:\n{}",
                &self.log()[from..]
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until a record of the journal, as `gnomon journal export` prints it, has all of these.
    pub fn recorded(&self, parts: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(120);
        let has_all = |line: &str| parts.iter().all(|part| line.contains(part));
        while !self.records().lines().any(has_all) {
            assert!(
                Instant::now() < deadline,
                "no {parts:?} in:\n{}",
                self.records()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn records(&self) -> String {
        let journal = self.dir.path("journal");
        said(
            env!("CARGO_BIN_EXE_gnomon"),
            &["journal", "export", &journal],
        )
    }

    /// The files of this kind in the folder of accepted CRLs.
    pub fn kept(&self, ending: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.dir.join("revocation"));
        let files = files.into_iter().flatten().map(|file| file.unwrap().path());
        files
            .filter(|file| file.extension().is_some_and(|other| other == ending))
            .collect()
    }
}
