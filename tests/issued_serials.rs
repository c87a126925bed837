//! Issued serials as a CA and its clients meet them: pushed with curl and asked for with `openssl ocsp`, over kills,
//! a full disk and a damaged file; from lists with their notAfter; from a folder of certificates that grows.

mod support;

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use support::{
    Folder, Gnomon, gnomon, http, prepare, run, said, small_disk::SmallDisk, text, wait_for,
};

const TOKEN: &str = "W2hRk1tY0pQ7vLr4cXb8";

const PUSHED: &str = "issued = [\"issued.txt\"]\nissued_push = { token_file = \"push.token\" }\n";

/// The demo's PKI with this in the place of its list of issued serials.
fn demo(dir: &Folder, issued: &str) -> (SocketAddr, SocketAddr) {
    let addresses = prepare(dir);
    let file = dir.join("gnomon.toml");
    let config = fs::read_to_string(&file).unwrap();
    assert!(config.contains("issued = [\"issued.txt\"]\n"), "{config}");
    let config = config.replace("issued = [\"issued.txt\"]\n", issued);
    fs::write(file, config).unwrap();
    fs::write(dir.join("push.token"), format!("{TOKEN}\n")).unwrap();
    addresses
}

/// Serves, with the log in the file `log`.
fn serve((dir, listen, admin): (Folder, SocketAddr, SocketAddr)) -> Gnomon {
    let mut command = gnomon(&["serve", "--config", &dir.path("gnomon.toml")]);
    command.stderr(fs::File::create(dir.join("log")).unwrap());
    Gnomon::started(command, dir, listen, admin)
}

fn start(issued: &str) -> Gnomon {
    let dir = Folder::new();
    let (listen, admin) = demo(&dir, issued);
    serve((dir, listen, admin))
}

/// Kills it, has `meanwhile` done to its folder, and starts it again.
fn killed_and_started(gnomon: Gnomon, meanwhile: impl FnOnce(&Folder)) -> Gnomon {
    let (listen, admin) = (gnomon.listen, gnomon.admin);
    gnomon.signal("KILL");
    let (_, dir) = gnomon.ended();
    meanwhile(&dir);
    serve((dir, listen, admin))
}

fn log(gnomon: &Gnomon) -> String {
    fs::read_to_string(gnomon.dir.join("log")).unwrap()
}

/// Pushes with curl; gives the status and, behind it, header and body.
fn push(gnomon: &Gnomon, options: &[&str], body: &str) -> (u16, String) {
    let url = format!("http://{}/issued/demo", gnomon.admin);
    curl(&[options, &["--data-binary", "@-", &url]].concat(), body)
}

fn push_as_ca(gnomon: &Gnomon, body: &str) -> (u16, String) {
    let header = format!("Authorization: Bearer {TOKEN}");
    push(gnomon, &["-H", &header], body)
}

fn curl(options: &[&str], body: &str) -> (u16, String) {
    let mut curl = Command::new("curl")
        .args(["-s", "-S", "-i", "-w", "\n%{http_code}"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = curl.stdin.take().unwrap();
    let _ = stdin.write_all(body.as_bytes());
    drop(stdin);
    let said = text(&curl.wait_with_output().unwrap());
    let (rest, status) = said.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), rest.to_owned())
}

/// What `openssl ocsp` says of serials in hexadecimal; an answer is verified.
fn ask(gnomon: &Gnomon, serials: &[String]) -> String {
    let path = |name: &str| gnomon.dir.path(name);
    let (issuer, chain) = (path("issuing.pem"), path("chain.pem"));
    let url = gnomon.url("/ocsp");
    let mut arguments = vec!["ocsp", "-issuer", &issuer, "-CAfile", &chain, "-url", &url];
    let numbers: Vec<_> = serials.iter().map(|serial| format!("0x{serial}")).collect();
    for number in &numbers {
        arguments.extend(["-serial", number]);
    }
    said("openssl", &arguments)
}

fn is_good(gnomon: &Gnomon, serial: &str) -> bool {
    let said = ask(gnomon, &[serial.to_owned()]);
    let good = said.contains(": good");
    assert!(good || said.contains("unauthorized"), "{said}");
    good
}

/// Where the demo's pushed serials are kept.
fn pushed_file(dir: &Folder) -> PathBuf {
    let mut files = fs::read_dir(dir.join("revocation")).unwrap();
    let is_it = |path: &PathBuf| path.extension().is_some_and(|is| is == "issued");
    files
        .find_map(|entry| Some(entry.unwrap().path()).filter(is_it))
        .unwrap()
}

#[test]
fn what_a_ca_pushes_is_good_at_once_and_after_a_kill() {
    let gnomon = start(PUSHED);
    let serial = "5A00000000000000000000000000BEEF";
    assert!(!is_good(&gnomon, serial));
    assert_eq!(
        push_as_ca(&gnomon, &format!("{serial} 2027-03-01\n")).0,
        204
    );
    assert!(is_good(&gnomon, serial));
    // What is there already takes no room, a later notAfter does.
    let length = |dir: &Folder| fs::metadata(pushed_file(dir)).unwrap().len();
    let first = length(&gnomon.dir);
    assert_eq!(first, 33);
    let lower = serial.to_lowercase();
    let again =
        format!("{lower}\n0x{serial} 2026-01-01 # renewed\n\n{serial} 2027-03-01T12:00:00Z\n");
    assert_eq!(push_as_ca(&gnomon, &again).0, 204);
    assert_eq!(push_as_ca(&gnomon, "").0, 204);
    assert_eq!(length(&gnomon.dir), first);
    assert_eq!(push_as_ca(&gnomon, &format!("{serial} 2028-03-01")).0, 204);
    assert_eq!(length(&gnomon.dir), 2 * first);
    let pushes = |gnomon: &Gnomon| gnomon.metric(&["gnomon_issued_pushes_total", "demo", "204"]);
    assert_eq!(pushes(&gnomon), 4.0);
    let gnomon = killed_and_started(gnomon, |_| {});
    assert!(is_good(&gnomon, serial) && !is_good(&gnomon, "5A00"));
    assert!(
        gnomon.ask("good.pem", &[]).contains("good.pem: good"),
        "from the list"
    );
    // Told to stop, it does.
    gnomon.signal("TERM");
    assert_eq!(gnomon.ended().0.code(), Some(0));
}

#[test]
fn who_shows_no_token_or_pushes_nonsense_changes_nothing() {
    let gnomon = start(PUSHED);
    let serial = "77AA";
    for options in [
        &[][..],
        &["-H", "Authorization: Bearer W2hRk1tY0pQ7vLr4cXb9"],
        &["-H", "Authorization: Bearer"],
        &["-u", "ca:W2hRk1tY0pQ7vLr4cXb8"],
    ] {
        let (status, said) = push(&gnomon, options, serial);
        assert_eq!(status, 401, "{said}");
        assert!(said.contains("www-authenticate: Bearer "), "{said}");
    }
    let (status, said) = push_as_ca(&gnomon, "77AA\n\n# web\nnonsense\n");
    assert_eq!(status, 400);
    assert!(
        said.contains("line 4: `nonsense` is not a hexadecimal serial"),
        "{said}"
    );
    let (status, said) = push_as_ca(&gnomon, "77AA\n77AB tomorrow\n");
    assert!(
        status == 400 && said.contains("line 2: `tomorrow` is no notAfter"),
        "{said}"
    );
    let (status, _) = push_as_ca(&gnomon, &"77AA\n".repeat(210_000));
    assert_eq!(status, 413);
    assert!(!is_good(&gnomon, serial));
    let (status, _) = push_as_ca(&gnomon, &"77AA\n".repeat(200_000));
    assert_eq!(status, 204);
    assert!(is_good(&gnomon, serial));
    let url = |name: &str| format!("http://{}/issued/{name}", gnomon.admin);
    let header = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(
        curl(&["-H", &header, "--data", "77", &url("other")], "").0,
        404
    );
    let (status, said) = curl(&["-H", &header, &url("demo")], "");
    assert!(status == 405 && said.contains("allow: POST"), "{said}");
    // Nor does the public side take them.
    let public = gnomon.url("/issued/demo");
    assert_eq!(curl(&["-H", &header, "--data", "77", &public], "").0, 404);
}

#[test]
fn without_the_setting_nothing_is_taken_and_a_wrong_one_stops_the_start() {
    let gnomon_ = start("issued = [\"issued.txt\"]\n");
    assert_eq!(push_as_ca(&gnomon_, "77AA").0, 404);
    let dir = &gnomon_.dir;
    let file = dir.path("wrong.toml");
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let config = config.replace("issued = [\"issued.txt\"]\n", PUSHED);
    let refused = |config: &str| {
        fs::write(&file, config).unwrap();
        let output = gnomon(&["check", "--config", &file]).output().unwrap();
        assert!(!output.status.success());
        text(&output)
    };
    fs::write(dir.join("push.token"), "short\n").unwrap();
    let said = refused(&config);
    let field = "issuer[0].issued_push.token_file: ";
    assert!(
        said.contains(field) && said.contains("16 characters or more"),
        "{said}"
    );
    fs::remove_file(dir.join("push.token")).unwrap();
    let said = refused(&config);
    assert!(
        said.contains(field) && said.contains("cannot be read"),
        "{said}"
    );
    let admin = format!("admin = \"{}\"\n", gnomon_.admin);
    assert!(config.contains(&admin), "{config}");
    let said = refused(&config.replace(&admin, ""));
    assert!(
        said.contains("issued_push: serials are pushed to the admin"),
        "{said}"
    );
}

/// The request that pushes this serial, for [`http`].
fn request(serial: u32) -> (String, Vec<u8>) {
    let serial = format!("5A0000000000000000000000{serial:08X}");
    let head = format!(
        "POST /issued/demo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Length: {}\r\n\r\n{serial}",
        serial.len()
    );
    (serial, head.into_bytes())
}

#[test]
fn what_was_acknowledged_under_load_outlives_a_kill() {
    let mut gnomon = start(PUSHED);
    for round in 0..3 {
        let next = Arc::new(AtomicU32::new(round << 24));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let admin = gnomon.admin;
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (next, taken) = (Arc::clone(&next), Arc::clone(&taken));
                std::thread::spawn(move || {
                    loop {
                        let (serial, request) = request(next.fetch_add(1, Ordering::Relaxed));
                        // The kill cuts connections, and then there is nobody.
                        let answer = std::panic::catch_unwind(|| http(admin, &request));
                        match answer {
                            Ok(answer) => assert_eq!(answer.status, 204),
                            Err(_) => return,
                        }
                        taken.lock().unwrap().push(serial);
                    }
                })
            })
            .collect();
        wait_for("some pushes", || {
            (taken.lock().unwrap().len() > 300).then_some(())
        });
        std::thread::sleep(Duration::from_millis(u64::from(round) * 3));
        gnomon.signal("KILL");
        for thread in threads {
            thread.join().unwrap();
        }
        let (listen, admin) = (gnomon.listen, gnomon.admin);
        let (_, dir) = gnomon.ended();
        gnomon = serve((dir, listen, admin));
        let taken = taken.lock().unwrap();
        for serials in taken.chunks(10) {
            let said = ask(&gnomon, serials);
            assert_eq!(said.matches(": good").count(), serials.len(), "{said}");
        }
    }
}

#[test]
fn a_torn_tail_is_cut_and_damage_costs_only_what_it_hit() {
    let gnomon = start(PUSHED);
    for serial in ["5A01", "5A02", "5A03"] {
        assert_eq!(push_as_ca(&gnomon, serial).0, 204);
    }
    let length = fs::metadata(pushed_file(&gnomon.dir)).unwrap().len();
    let gnomon = killed_and_started(gnomon, |dir| {
        let file = pushed_file(dir);
        let mut content = fs::read(&file).unwrap();
        content.extend(b"GNI1\0\0\0\x13torn");
        fs::write(file, content).unwrap();
    });
    wait_for("the warning", || {
        log(&gnomon)
            .contains("the last 12 octets, from 57 on, are no whole push")
            .then_some(())
    });
    assert_eq!(
        fs::metadata(pushed_file(&gnomon.dir)).unwrap().len(),
        length
    );
    assert_eq!(push_as_ca(&gnomon, "5A04").0, 204);
    let gnomon = killed_and_started(gnomon, |dir| {
        let file = pushed_file(dir);
        let mut content = fs::read(&file).unwrap();
        content[22] ^= 1;
        fs::write(file, content).unwrap();
    });
    wait_for("the error", || {
        let name = pushed_file(&gnomon.dir).display().to_string();
        log(&gnomon)
            .contains(&format!("{name}: is damaged from octet 19 on"))
            .then_some(())
    });
    let good = ["5A01", "5A02", "5A03", "5A04"].map(|serial| is_good(&gnomon, serial));
    assert_eq!(good, [true, false, true, true]);
    assert_eq!(push_as_ca(&gnomon, "5A02").0, 204);
    assert!(is_good(&gnomon, "5A02"));
}

#[test]
fn a_full_disk_takes_nothing_by_half_and_takes_again_when_there_is_room() {
    let dir = Folder::new();
    let (listen, admin) = demo(&dir, PUSHED);
    let disk = SmallDisk::mount(dir.join("revocation"), "1m");
    let gnomon = serve((dir, listen, admin));
    assert_eq!(push_as_ca(&gnomon, "5A01").0, 204);
    // The first page of a large frame still finds room.
    disk.fill_but(4096);
    let many: String = (0..1000).map(|n| format!("5A{n:030X}\n")).collect();
    let (status, said) = push_as_ca(&gnomon, &many);
    assert_eq!(status, 507, "{said}");
    assert!(
        said.contains("nothing was taken: the disk is full"),
        "{said}"
    );
    assert!(log(&gnomon).contains("pushed serials cannot be kept: "));
    assert!(!is_good(&gnomon, &format!("5A{:030X}", 0)) && is_good(&gnomon, "5A01"));
    fs::remove_file(disk.filler()).unwrap();
    assert_eq!(push_as_ca(&gnomon, &many).0, 204);
    assert!(is_good(&gnomon, &format!("5A{:030X}", 999)));
    assert!(log(&gnomon).contains("pushed serials are kept again"));
    let gnomon = killed_and_started(gnomon, |_| {});
    assert!(is_good(&gnomon, &format!("5A{:030X}", 999)) && is_good(&gnomon, "5A01"));
    assert!(!log(&gnomon).contains("no whole push"));
    drop((gnomon, disk));
}

/// A certificate with this serial for a key of this kind, by the demo's CA of this name.
fn certificate(dir: &Folder, ca: &str, serial: &str, algorithm: &str, out: &str) {
    let (key, csr) = (dir.path("leaf.key"), dir.path("leaf.csr"));
    let (pem, ca_key) = (
        dir.path(&format!("{ca}.pem")),
        dir.path(&format!("{ca}.key")),
    );
    run(
        "openssl",
        &["genpkey", "-algorithm", algorithm, "-out", &key],
    );
    run(
        "openssl",
        &[
            "req", "-new", "-key", &key, "-subj", "/CN=leaf", "-out", &csr,
        ],
    );
    let serial = format!("0x{serial}");
    let extensions = dir.path("leaf.ext");
    fs::write(&extensions, "authorityKeyIdentifier=keyid:always\n").unwrap();
    run(
        "openssl",
        &[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            &pem,
            "-CAkey",
            &ca_key,
            "-days",
            "30",
            "-set_serial",
            &serial,
            "-extfile",
            &extensions,
            "-out",
            &dir.path(out),
        ],
    );
}

/// `other.pem`, a CA of the same name as the demo's, but with a key of its own.
fn other_ca(dir: &Folder) {
    let (key, csr, extensions) = (
        dir.path("other.key"),
        dir.path("other.csr"),
        dir.path("other.ext"),
    );
    fs::write(
        &extensions,
        "subjectKeyIdentifier=hash\nbasicConstraints=critical,CA:true\n",
    )
    .unwrap();
    run(
        "openssl",
        &["genpkey", "-algorithm", "ed25519", "-out", &key],
    );
    let issuing = dir.path("issuing.pem");
    run(
        "openssl",
        &[
            "x509",
            "-x509toreq",
            "-in",
            &issuing,
            "-signkey",
            &key,
            "-out",
            &csr,
        ],
    );
    let out = dir.path("other.pem");
    run(
        "openssl",
        &[
            "x509",
            "-req",
            "-in",
            &csr,
            "-signkey",
            &key,
            "-extfile",
            &extensions,
            "-out",
            &out,
        ],
    );
}

#[test]
fn a_folder_of_certificates_is_followed_as_it_grows() {
    let dir = Folder::new();
    let (listen, admin) = demo(&dir, "issued = [\"issued.txt\", \"published\"]\n");
    fs::create_dir(dir.join("published")).unwrap();
    certificate(&dir, "issuing", "6A01", "ed25519", "published/1.pem");
    // What else a CA publishes, and certificates of other CAs: of another name, and of another key.
    other_ca(&dir);
    certificate(&dir, "other", "6A0F", "ed25519", "published/other.pem");
    for name in ["issuing.crl", "issuing.key", "ca.pem"] {
        fs::copy(dir.join(name), dir.join("published").join(name)).unwrap();
    }
    fs::copy(dir.join("issuing.crl"), dir.join("published/list.der")).unwrap();
    let gnomon = serve((dir, listen, admin));
    assert!(is_good(&gnomon, "6A01") && !is_good(&gnomon, "6A02") && !is_good(&gnomon, "6A0F"));
    let until_good = |serial: &str| {
        wait_for("the certificate", || is_good(&gnomon, serial).then_some(()));
    };
    // A key that nothing here could use, in DER.
    certificate(&gnomon.dir, "issuing", "6A02", "ed448", "2.pem");
    let (pem, der) = (gnomon.dir.path("2.pem"), gnomon.dir.path("published/2.der"));
    run(
        "openssl",
        &["x509", "-in", &pem, "-outform", "DER", "-out", &der],
    );
    until_good("6A02");
    // One that comes in two parts, while others come.
    certificate(&gnomon.dir, "issuing", "6A03", "ed25519", "3.pem");
    let whole = fs::read(gnomon.dir.join("3.pem")).unwrap();
    fs::write(gnomon.dir.join("published/3.pem"), &whole[..100]).unwrap();
    certificate(&gnomon.dir, "issuing", "6A04", "ed25519", "published/4.pem");
    until_good("6A04");
    assert!(!is_good(&gnomon, "6A03"));
    wait_for("the half to be told", || {
        log(&gnomon)
            .contains("published/3.pem: not a certificate")
            .then_some(())
    });
    fs::write(gnomon.dir.join("published/3.pem"), &whole).unwrap();
    until_good("6A03");
    // In the place of another, which stays issued.
    certificate(&gnomon.dir, "issuing", "6A05", "ed25519", "5.pem");
    fs::rename(gnomon.dir.join("5.pem"), gnomon.dir.join("published/1.pem")).unwrap();
    until_good("6A05");
    assert!(is_good(&gnomon, "6A01"));
    // The list beside it is still read.
    let list = gnomon.dir.join("issued.txt");
    let more = fs::read_to_string(&list).unwrap() + "6A06 2027-03-01\n";
    fs::write(&list, more).unwrap();
    until_good("6A06");
    // Another CA's stays another CA's.
    let root = run(
        "openssl",
        &[
            "x509",
            "-in",
            &gnomon.dir.path("ca.pem"),
            "-noout",
            "-serial",
        ],
    );
    assert!(!is_good(&gnomon, root.trim().trim_start_matches("serial=")));
    assert_eq!(
        log(&gnomon).matches("published").count(),
        1,
        "{}",
        log(&gnomon)
    );
}
