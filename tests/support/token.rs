//! A SoftHSM token in a folder, and the faulty module before it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Folder, Gnomon, free_port, gnomon, run, text};

pub const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A token in a folder, and the environment that makes SoftHSM see it.
pub struct Token {
    conf: String,
    pub control: String,
    /// What else whoever uses the token is to find in its environment.
    pub environment: Vec<(&'static str, String)>,
}

impl Token {
    pub fn new(dir: &Folder) -> Self {
        fs::create_dir(dir.join("tokens")).unwrap();
        let conf = dir.path("softhsm2.conf");
        fs::write(
            &conf,
            format!(
                "directories.tokendir = {}\nlog.level = ERROR\n",
                dir.path("tokens")
            ),
        )
        .unwrap();
        fs::write(dir.join("pin"), "1234\n").unwrap();
        run("chmod", &["600", &dir.path("pin")]);
        let token = Self {
            conf,
            control: dir.path("control"),
            environment: Vec::new(),
        };
        token.init("gnomon");
        token
    }

    pub fn softhsm(&self, arguments: &[&str]) {
        let output = self
            .around(Command::new("softhsm2-util"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }

    /// Another token of this label, with the same PIN.
    pub fn init(&self, label: &str) {
        let pins = ["--pin", "1234", "--so-pin", "5678"];
        self.softhsm(&[&["--init-token", "--free", "--label", label][..], &pins].concat());
    }

    /// Puts `NAME.key` on the token `gnomon`.
    pub fn import(&self, dir: &Folder, name: &str, id: &str) {
        self.import_to("gnomon", dir, name, id);
    }

    pub fn import_to(&self, token: &str, dir: &Folder, name: &str, id: &str) {
        let file = dir.path(&format!("{name}.key"));
        self.softhsm(&[
            "--import", &file, "--token", token, "--label", name, "--id", id, "--pin", "1234",
        ]);
    }

    pub fn around(&self, mut command: Command) -> Command {
        command
            .env("SOFTHSM2_CONF", &self.conf)
            .env("FAULTY_PKCS11_MODULE", SOFTHSM)
            .env("FAULTY_PKCS11_CONTROL", &self.control)
            .envs(self.environment.iter().cloned());
        command
    }

    /// Tells the faulty module what to do from now on.
    pub fn order(&self, what: &str) {
        let next = format!("{}.next", self.control);
        fs::write(&next, what).unwrap();
        fs::rename(next, &self.control).unwrap();
    }

    pub fn calls(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("{}.calls", self.control)).unwrap_or_default();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.map_or(0, |count| count.parse().unwrap())
    }

    pub fn serve(&self, dir: Folder, config: &str) -> Gnomon {
        let (listen, admin) = (free_port(), free_port());
        let mut lines: Vec<_> = config.lines().map(str::to_owned).collect();
        for line in &mut lines {
            if line.starts_with("listen = ") {
                *line = format!("listen = [\"{listen}\"]");
            } else if line.starts_with("admin = ") {
                *line = format!("admin = \"{admin}\"");
            }
        }
        fs::write(dir.join("gnomon.toml"), lines.join("\n")).unwrap();
        let command = gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
        Gnomon::started(self.around(command), dir, listen, admin)
    }
}

/// The faulty module, built with the workspace beside the gnomon of this build.
pub fn faulty() -> PathBuf {
    let module = Path::new(env!("CARGO_BIN_EXE_gnomon")).with_file_name("libfaulty_pkcs11.so");
    assert!(
        module.exists(),
        "cargo build -p faulty-pkcs11 makes {}",
        module.display()
    );
    module
}
