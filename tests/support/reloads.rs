//! A gnomon whose configuration is edited while it runs: [`Edited`] reloads it, and waits for what comes of it.

use std::{
    fs,
    ops::Deref,
    time::{Duration, Instant},
};

use super::{Folder, crls::Served, raw::process, wait_for};

pub struct Edited(pub Served);

impl Deref for Edited {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.0
    }
}

impl Edited {
    /// The demo, after `before` was done to its folder.
    pub fn start(before: impl FnOnce(&Folder)) -> Self {
        Self(Served::start("\"issuing.crl\"", |config| config, before))
    }

    pub fn config(&self) -> String {
        fs::read_to_string(self.dir.join("gnomon.toml")).unwrap()
    }

    pub fn write(&self, config: &str) {
        fs::write(self.dir.join("next.toml"), config).unwrap();
        fs::rename(self.dir.join("next.toml"), self.dir.join("gnomon.toml")).unwrap();
    }

    /// Replaces what stands in the configuration.
    pub fn edit(&self, from: &str, to: &str) {
        let config = self.config();
        assert!(config.contains(from), "{from} is not in {config}");
        self.write(&config.replace(from, to));
    }

    /// How many reloads have come to this.
    pub fn reloads(&self, outcome: &str) -> u64 {
        let count = self.metric(&["gnomon_reloads_total", outcome]);
        count.to_string().parse().unwrap()
    }

    /// Has it reload.
    pub fn hang_up(&self, outcome: &str) {
        let before = self.reloads(outcome);
        self.signal("HUP");
        wait_for(&format!("a reload {outcome}"), || {
            (self.reloads(outcome) > before).then_some(())
        });
    }

    /// The same where the log is a file, and gives what was logged of it.
    pub fn reload(&self, outcome: &str) -> String {
        let logged = self.log().len();
        self.hang_up(outcome);
        let deadline = Instant::now() + Duration::from_secs(60);
        // What is counted is logged right behind.
        let last = ["reload: in force", "reload: refused"];
        loop {
            let said = self.log()[logged..].to_owned();
            if last.iter().any(|last| said.contains(last)) {
                return said;
            }
            assert!(Instant::now() < deadline, "{said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Threads, and open files, of the process.
    pub fn holds(&self) -> (usize, usize) {
        let pid = self.pid();
        (process::threads(pid), process::open_files(pid))
    }

    /// Waits until neither threads nor files are more than before.
    pub fn holds_no_more_than(&self, before: (usize, usize)) {
        wait_for("old generations to go", || {
            let now = self.holds();
            (now.0 <= before.0 && now.1 <= before.1).then_some(())
        });
    }

    /// The same once it stays so: old generations have gone.
    pub fn settled(&self) -> (usize, usize) {
        let mut last = self.holds();
        wait_for("the process to come to rest", || {
            std::thread::sleep(Duration::from_millis(250));
            let now = self.holds();
            (std::mem::replace(&mut last, now) == now).then_some(now)
        })
    }
}
