//! `hicmod-tool repo`: what it makes is what a client accepts, over files and over HTTP.

mod common;

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;
use std::sync::OnceLock;

use common::{Elf, MANIFEST};
use hic_tuf::Role;
use hicmod_tool::repo::{KeyFolder, Lives, Progress, Repository, Work, default_keys};
use hicmod_tool::{ChainOptions, SigningSet, make_chain, pack};

fn tool(arguments: &str, folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hicmod-tool"));
    command.args(arguments.split(' ')).current_dir(folder).output().expect("the tool runs")
}

fn good(arguments: &str, folder: &Path) -> String {
    let output = tool(arguments, folder);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {text}{said}");
    // How long work goes on is shown on a terminal alone: a log has no use for it.
    assert_eq!(said, "", "{arguments}");
    text
}

/// What it says on refusal, which ends with the exit code for a check that said no.
fn refused(arguments: &str, folder: &Path) -> String {
    let output = tool(arguments, folder);
    assert_eq!(output.status.code(), Some(3), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with a chain, two signed modules and a published repository of the first; copied for each test, since keys cost seconds.
fn made() -> tempfile::TempDir {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let template = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder").keep();
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        make_chain(&folder.join("keys"), ChainOptions { development: true, days: 30, now }).expect("a chain");
        let set = SigningSet::load_folder(&folder.join("keys")).expect("keys");
        for version in ["0.1.0", "0.2.0"] {
            let module = pack(&Elf::good().bytes(), &MANIFEST.replace("0.1.0", version)).expect("packed");
            std::fs::write(folder.join(format!("echo-{version}")), set.sign(&module, now).expect("signed"))
                .expect("written");
            std::fs::write(folder.join("unsigned"), module).expect("written");
        }
        good("repo init r --no-passphrase", &folder);
        good("repo add r echo-0.1.0", &folder);
        good("repo publish r", &folder);
        folder
    });
    let copy = tempfile::tempdir().expect("a folder");
    let copied =
        Command::new("cp").arg("-a").arg(template.join(".")).arg(copy.path()).status().expect("cp runs");
    assert!(copied.success());
    copy
}

#[test]
fn what_was_added_and_published_is_found_good_with_its_signer() {
    let folder = made();
    let text = good("repo check r --root keys/root.pem", folder.path());
    assert!(text.contains("echo 0.1.0") && text.contains("signed by"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&good("repo check r --json", folder.path())).expect("JSON");
    assert_eq!(json["timestamp"], 2);
    assert_eq!(json["modules"][0]["file"], "echo-0.1.0.hicmod");
    assert_eq!(json["unlisted_allowed"], false);
    // Published again without a change: a new timestamp, the same list.
    let text = good("repo publish r", folder.path());
    assert!(text.contains("timestamp 3, list 2 (unchanged, 1 modules)"), "{text}");
    // An added module is not offered before it is published, and a deleted one no longer afterwards.
    good("repo add r echo-0.2.0", folder.path());
    let text = good("repo check r", folder.path());
    assert!(text.contains("not published: echo-0.2.0.hicmod"), "{text}");
    std::fs::remove_file(folder.path().join("r/targets/echo-0.1.0.hicmod")).expect("removed");
    good("repo publish r", folder.path());
    let text = good("repo check r", folder.path());
    assert!(text.contains("echo 0.2.0") && !text.contains("echo 0.1.0"), "{text}");
}

/// Writes down what it is told.
#[derive(Default)]
struct Told(RefCell<Vec<Option<(Work, usize, usize)>>>);

impl Progress for Told {
    fn begins(&self, work: Work, part: usize, of: usize) {
        self.0.borrow_mut().push(Some((work, part, of)));
    }

    fn ends(&self) {
        self.0.borrow_mut().push(None);
    }
}

#[test]
fn whoever_watches_is_told_of_each_key_and_module_and_of_the_end() {
    let folder = made();
    good("repo add r echo-0.2.0", folder.path());
    let at = folder.path().join("r");
    let told = Rc::new(Told::default());
    let keys = KeyFolder::plain(&default_keys(&at)).watched(told.clone());
    let repository = Repository::open(&at, keys).expect("a repository");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let two = |work| [Some((work, 1, 2)), Some((work, 2, 2)), None];
    repository.publish(now, Lives::default()).expect("published");
    assert_eq!(told.0.take(), [two(Work::ReadModules), two(Work::ListModules)].concat());
    repository.check(now, None).expect("good");
    assert_eq!(told.0.take(), two(Work::CheckModules));
    repository.rotate(&[Role::Snapshot, Role::Targets], None, now, Lives::default()).expect("exchanged");
    assert_eq!(told.0.take()[..3], two(Work::MakeKeys));
    // Also when it fails.
    std::fs::remove_file(at.join("targets/echo-0.2.0.hicmod")).expect("removed");
    repository.check(now, None).expect_err("a module is not there");
    assert_eq!(told.0.take(), two(Work::CheckModules));
}

#[test]
fn a_release_never_changes_and_must_be_signed() {
    let folder = made();
    let output = tool("repo add r unsigned", folder.path());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not signed"), "{output:?}");
    let other = SigningSet::load_folder(&folder.path().join("keys")).expect("keys");
    let module = std::fs::read(folder.path().join("echo-0.1.0")).expect("read");
    std::fs::write(folder.path().join("again"), other.sign(&module, 1_700_000_000).expect("signed"))
        .expect("written");
    let output = tool("repo add r again", folder.path());
    assert!(String::from_utf8_lossy(&output.stderr).contains("a release never changes"), "{output:?}");
    // Nor by a copy into the folder, until it has its published contents again or is withdrawn.
    let published = folder.path().join("r/targets/echo-0.1.0.hicmod");
    std::fs::copy(folder.path().join("again"), &published).expect("copied");
    let before = names(&folder.path().join("r/metadata"));
    let output = tool("repo publish r", folder.path());
    assert!(String::from_utf8_lossy(&output.stderr).contains("echo-0.1.0.hicmod is in the"), "{output:?}");
    assert_eq!(names(&folder.path().join("r/metadata")), before);
    std::fs::copy(folder.path().join("echo-0.1.0"), &published).expect("copied");
    good("repo publish r", folder.path());
    // What cannot be read is not taken for missing.
    std::fs::create_dir(folder.path().join("r/targets/echo-0.2.0.hicmod")).expect("made");
    let output = tool("repo add r echo-0.2.0", folder.path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("0.2.0.hicmod: Is a directory"), "{said}");
    std::fs::remove_dir(folder.path().join("r/targets/echo-0.2.0.hicmod")).expect("removed");
    assert!(
        !tool("repo init r --no-passphrase", folder.path()).status.success(),
        "a repository is not made twice"
    );
    assert!(String::from_utf8_lossy(&tool("repo check nothing", folder.path()).stderr).contains("repo init"));
}

#[test]
fn a_changed_file_and_a_late_hour_are_refused_with_the_check() {
    let folder = made();
    assert!(refused("repo check r --at 2099-01-01", folder.path()).contains("metadata-expired"));
    assert!(refused("repo check r --at 2001-01-01", folder.path()).contains("metadata-clock"));
    let path = folder.path().join("r/targets/echo-0.1.0.hicmod");
    let mut module = std::fs::read(&path).expect("read");
    module[100] ^= 1;
    std::fs::write(&path, &module).expect("written");
    assert!(refused("repo check r", folder.path()).contains("target-digest"));
    std::fs::remove_file(&path).expect("removed");
    assert!(refused("repo check r", folder.path()).contains("is listed and not there"));
    module.pop();
    std::fs::write(&path, &module).expect("written");
    assert!(refused("repo check r", folder.path()).contains("target-length"));
    let path = folder.path().join("r/metadata/2.targets.tuf");
    let mut list = std::fs::read(&path).expect("read");
    list[40] ^= 1;
    std::fs::write(&path, &list).expect("written");
    assert!(refused("repo check r", folder.path()).contains("metadata-mixed"));
}

#[test]
fn keys_are_exchanged_and_the_old_ones_sign_nothing_any_more() {
    let folder = made();
    // Without a word about the new keys' passphrase nothing is exchanged, and trying again is possible.
    let none = tool("repo rotate r timestamp snapshot", folder.path());
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(!none.status.success() && said.contains("--passphrase-file"), "{said}");
    good("repo publish r", folder.path());
    let timestamp = folder.path().join("r/metadata/timestamp.tuf");
    let before = std::fs::read(&timestamp).expect("read");
    good("repo rotate r timestamp root --no-passphrase", folder.path());
    let json: serde_json::Value =
        serde_json::from_str(&good("repo check r --json", folder.path())).expect("JSON");
    assert_eq!(json["root"], 2);
    let keys = folder.path().join("r.keys");
    for name in ["timestamp-before-2", "root-1-before-2", "root-3-before-2", "timestamp", "root-1"] {
        let metadata = std::fs::metadata(keys.join(format!("{name}.key.pem"))).expect(name);
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600, "{name}");
    }
    std::fs::rename(keys.join("timestamp-before-2.key.pem"), keys.join("timestamp.key.pem"))
        .expect("put back");
    let failed = tool("repo publish r", folder.path());
    assert!(
        String::from_utf8_lossy(&failed.stderr).contains("timestamp.key.pem: not a key that root 2 names")
    );
    good("repo check r", folder.path());
    std::fs::write(&timestamp, before).expect("written");
    assert!(refused("repo check r", folder.path()).contains("metadata-threshold"));
}

/// The files of a folder with their contents.
fn contents(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    entries.map(|path| (name(&path), std::fs::read(&path).expect("read"))).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn an_exchange_that_cannot_end_leaves_all_keys_where_they_were() {
    let folder = made();
    let (at, keys) = (folder.path(), folder.path().join("r.keys"));
    // The keys of the root alone, as on a machine without a network.
    let timestamp = keys.join("timestamp.key.pem");
    std::fs::rename(&timestamp, at.join("timestamp")).expect("moved");
    let before = contents(&keys);
    let failed = tool("repo rotate r root --no-passphrase", at);
    assert!(String::from_utf8_lossy(&failed.stderr).contains("timestamp.key.pem"), "{failed:?}");
    assert!(contents(&keys) == before, "keys were moved");
    std::fs::rename(at.join("timestamp"), &timestamp).expect("moved back");
    let before = contents(&keys);
    // Tried again, twice named: a key goes once, and what the name of an old key has is not overwritten.
    let taken = keys.join("timestamp-before-2.key.pem");
    std::fs::write(&taken, "somebody's").expect("written");
    let failed = tool("repo rotate r root timestamp timestamp --no-passphrase", at);
    assert!(String::from_utf8_lossy(&failed.stderr).contains("timestamp-before-2.key.pem"), "{failed:?}");
    assert_eq!(std::fs::read_to_string(&taken).expect("read"), "somebody's");
    std::fs::remove_file(&taken).expect("removed");
    good("repo rotate r root timestamp timestamp --no-passphrase", at);
    assert!(contents(&keys)["timestamp-before-2.key.pem"] == before["timestamp.key.pem"]);
    assert!(contents(&keys)["root-2-before-2.key.pem"] == before["root-2.key.pem"]);
    good("repo check r", at);
}

#[test]
fn an_exchange_whose_publication_fails_says_what_is_done_and_what_is_left() {
    let folder = made();
    let (at, wrong) = (folder.path(), folder.path().join("r/targets/x-1.0.0.hicmod"));
    std::fs::write(&wrong, "no module").expect("written");
    let failed = tool("repo rotate r timestamp --no-passphrase", at);
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("root 2 is made") && said.contains("x-1.0.0.hicmod"), "{said}");
    std::fs::remove_file(&wrong).expect("removed");
    good("repo publish r", at);
    good("repo check r", at);
}

#[test]
fn root_keys_that_are_elsewhere_stay_keys_of_the_root() {
    let folder = made();
    let (at, keys) = (folder.path(), folder.path().join("r.keys"));
    let key = |number: u8| keys.join(format!("root-{number}.key.pem"));
    let away = |number: u8| at.join(format!("away-{number}"));
    // 1 and 3 sign; the root still names 2, which signs the next one with 3.
    std::fs::rename(key(2), away(2)).expect("moved");
    good("repo rotate r --no-passphrase", at);
    good("repo check r", at);
    std::fs::rename(away(2), key(2)).expect("moved");
    std::fs::rename(key(1), away(1)).expect("moved");
    good("repo rotate r timestamp --no-passphrase", at);
    good("repo check r", at);
    // One is too few, and nothing is exchanged.
    std::fs::rename(key(2), away(2)).expect("moved");
    let before = contents(&keys);
    let failed = tool("repo rotate r root --no-passphrase", at);
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("1 of the keys of root 3") && said.contains("2 must sign"), "{said}");
    assert!(contents(&keys) == before, "keys were moved");
    // Exchanged by two, the root has three keys again.
    std::fs::rename(away(2), key(2)).expect("moved");
    good("repo rotate r root --no-passphrase", at);
    assert!(key(1).exists() && key(3).exists() && !keys.join("root-1-before-4.key.pem").exists());
    std::fs::remove_file(key(2)).expect("removed");
    good("repo rotate r --no-passphrase", at);
    good("repo check r", at);
}

#[test]
fn a_list_is_signed_anew_when_its_key_is_exchanged_and_its_key_may_be_elsewhere_when_not() {
    let folder = made();
    let at = folder.path();
    good("repo rotate r targets --no-passphrase", at);
    let text = good("repo check r", at);
    assert!(text.contains("targets 3") && text.contains("echo 0.1.0"), "{text}");
    std::fs::remove_file(at.join("r.keys/targets.key.pem")).expect("removed");
    assert!(good("repo publish r", at).contains("list 3 (unchanged"));
    good("repo check r", at);
}

#[test]
fn nothing_is_published_with_a_key_that_the_root_does_not_name() {
    let folder = made();
    let (at, keys) = (folder.path(), folder.path().join("r.keys"));
    let timestamp = || std::fs::read(at.join("r/metadata/timestamp.tuf")).expect("read");
    let before = timestamp();
    for role in ["timestamp", "snapshot"] {
        let (key, own) = (keys.join(format!("{role}.key.pem")), at.join("own"));
        std::fs::rename(&key, &own).expect("moved");
        std::fs::copy(keys.join("root-1.key.pem"), &key).expect("copied");
        let failed = tool("repo publish r", at);
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(said.contains(&format!("{role}.key.pem: not a key that root 1 names for {role}")), "{said}");
        assert!(timestamp() == before, "something was published");
        std::fs::rename(&own, &key).expect("moved");
        good("repo check r", at);
    }
    // A new root may name it.
    std::fs::copy(keys.join("root-1.key.pem"), keys.join("timestamp.key.pem")).expect("copied");
    good("repo rotate r", at);
    good("repo check r", at);
}

#[test]
fn private_keys_never_lie_in_the_folder_that_is_handed_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    for keys in ["s/keys", "s", "./s/../s/k/../keys"] {
        let failed = tool(&format!("repo init s --keys {keys} --no-passphrase"), at);
        assert!(String::from_utf8_lossy(&failed.stderr).contains("--keys"), "{keys}: {failed:?}");
        assert!(!at.join("s").exists(), "{keys} left something behind");
    }
    good("repo init s/ --no-passphrase --root-keys 1 --threshold 1", at);
    assert!(at.join("s.keys/root-1.key.pem").exists());
    std::fs::create_dir(at.join("t")).expect("made");
    good("repo init . --no-passphrase --root-keys 1 --threshold 1", &at.join("t"));
    assert!(at.join("t.keys/root-1.key.pem").exists());
    assert_eq!(names(&at.join("t")), ["metadata", "targets"]);
    good("repo publish .", &at.join("t"));
}

#[test]
fn versions_never_begin_anew_because_a_file_cannot_be_read() {
    let folder = made();
    let (at, metadata) = (folder.path(), folder.path().join("r/metadata"));
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let timestamp = metadata.join("timestamp.tuf");
    let newest = std::fs::read(&timestamp).expect("read");
    std::fs::remove_file(&timestamp).expect("removed");
    let before = names(&metadata);
    for damage in [None, Some(&b""[..]), Some(&newest[..20])] {
        if let Some(bytes) = damage {
            std::fs::write(&timestamp, bytes).expect("written");
        }
        let failed = tool("repo publish r", at);
        assert!(said(&failed).contains("timestamp.tuf: missing or damaged"), "{failed:?}");
    }
    std::fs::remove_file(&timestamp).expect("removed");
    assert_eq!(names(&metadata), before, "something was written or removed");
    // With the copy it goes on where it was; a new key lets every system begin anew.
    std::fs::write(&timestamp, &newest).expect("written");
    assert!(good("repo publish r", at).contains("timestamp 3"));
    std::fs::remove_file(&timestamp).expect("removed");
    good("repo rotate r timestamp --no-passphrase", at);
    assert!(good("repo check r", at).contains("root 2, timestamp 1,"));
    // The same with the list.
    let list = metadata.join("2.targets.tuf");
    let bytes = std::fs::read(&list).expect("read");
    std::fs::write(&list, &bytes[..50]).expect("written");
    let failed = tool("repo publish r", at);
    assert!(said(&failed).contains("2.targets.tuf: not a metadata file"), "{failed:?}");
    std::fs::write(&list, &bytes).expect("written");
    good("repo publish r", at);
    good("repo check r", at);
}

#[test]
fn a_repository_whose_first_publication_did_not_end_is_published_later() {
    let folder = made();
    let metadata = folder.path().join("r/metadata");
    for name in ["timestamp.tuf", "2.snapshot.tuf", "2.targets.tuf"] {
        std::fs::remove_file(metadata.join(name)).expect("removed");
    }
    assert!(good("repo publish r", folder.path()).contains("timestamp 1"));
    good("repo check r", folder.path());
}

#[test]
fn a_threshold_that_no_keys_reach_is_refused_before_keys_are_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let failed = tool("repo init s --root-keys 1 --no-passphrase", folder.path());
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("2 keys cannot sign") && said.contains("--threshold from 1 to 1"), "{said}");
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn keys_are_encrypted_and_exchanged_under_one_passphrase_and_openssl_opens_them() {
    let folder = made();
    let at = folder.path();
    std::fs::write(at.join("pass"), "correct horse\n").expect("written");
    let none = tool("repo init s", at);
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(!none.status.success() && said.contains("--passphrase-file"), "{said}");
    assert!(!at.join("s").exists(), "something was left behind");
    good("repo init s --root-keys 1 --threshold 1 --passphrase-file pass", at);
    let key = at.join("s.keys/timestamp.key.pem");
    let text = std::fs::read_to_string(&key).expect("read");
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{text}");
    let opened = |word: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["pkey", "-noout", "-check", "-passin", word, "-in"]).arg(&key);
        openssl.output().expect("openssl runs").status.success()
    };
    assert!(opened("pass:correct horse") && !opened("pass:wrong"));
    let locked = tool("repo publish s", at);
    assert!(String::from_utf8_lossy(&locked.stderr).contains("is encrypted"), "{locked:?}");
    good("repo publish s --passphrase-file pass", at);
    good("repo rotate s root snapshot --passphrase-file pass", at);
    assert!(opened("pass:correct horse"));
    let fresh = std::fs::read_to_string(at.join("s.keys/snapshot.key.pem")).expect("read");
    assert!(fresh.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{fresh}");
    good("repo check s", at);
}

/// A server that ends with the test.
struct Serving(Child, String);

impl Serving {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hicmod-tool"));
        command.args(["repo", "serve", "r", "--listen", "127.0.0.1:0"]).current_dir(folder);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the tool runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let address =
            line.trim().split("http://").nth(1).expect("an address").trim_end_matches('/').to_owned();
        Self(child, address)
    }

    /// Status and body of one request on a connection of its own.
    fn ask(&self, request: &str) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.1).expect("connected");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answered");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let status = String::from_utf8_lossy(&answer[9..12]).parse().expect("a status");
        (status, answer.split_off(end))
    }

    fn head(&self, path: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.1).expect("connected");
        let request = format!("HEAD {path} HTTP/1.1\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answered");
        answer
    }

    fn get(&self, path: &str, header: &str) -> (u16, Vec<u8>) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n"))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_server_hands_out_files_and_parts_of_them_and_nothing_else() {
    let folder = made();
    let server = Serving::start(folder.path());
    let module = std::fs::read(folder.path().join("echo-0.1.0")).expect("read");
    let path = "/targets/echo-0.1.0.hicmod";
    assert_eq!(server.get(path, ""), (200, module.clone()));
    assert_eq!(server.get(path, "Range: bytes=100-\r\n"), (206, module[100..].to_vec()));
    assert_eq!(server.get(path, "Range: bytes=7-11\r\n"), (206, module[7..12].to_vec()));
    assert_eq!(server.get(path, &format!("Range: bytes={}-\r\n", module.len())).0, 416);
    // A part is sent of the same version of the file alone; of another one, everything.
    let head = String::from_utf8(server.head(path)).expect("a head");
    let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).expect("an entity tag").to_owned();
    let part = |tag: &str| server.get(path, &format!("Range: bytes=100-\r\nIf-Range: {tag}\r\n"));
    assert_eq!(part(&tag), (206, module[100..].to_vec()));
    assert_eq!(part("\"another\""), (200, module.clone()));
    let served = folder.path().join("r/targets/echo-0.1.0.hicmod");
    std::fs::copy(&served, folder.path().join("new")).expect("copied");
    std::fs::rename(folder.path().join("new"), &served).expect("replaced");
    assert_eq!(part(&tag).0, 200, "the file was replaced");
    assert_eq!(server.get("/metadata/timestamp.tuf", "").0, 200);
    for path in [
        "/metadata/9.root.tuf",
        "/r.keys/root-1.key.pem",
        "/../r.keys/root-1.key.pem",
        "/metadata/../../x",
        "/",
    ] {
        assert_eq!(server.get(path, "").0, 404, "{path}");
    }
    assert_eq!(server.ask("POST /metadata/timestamp.tuf HTTP/1.1\r\nConnection: close\r\n\r\n").0, 404);
    assert_eq!(server.ask("nonsense\r\n\r\n").0, 400);
    assert_eq!(server.ask(&format!("HEAD {path} HTTP/1.1\r\nConnection: close\r\n\r\n")), (200, Vec::new()));
    // Two requests on one connection.
    let two = format!("GET {path} HTTP/1.1\r\n\r\nGET {path} HTTP/1.1\r\nConnection: close\r\n\r\n");
    let (status, both) = server.ask(&two);
    assert_eq!(status, 200);
    assert!(both.starts_with(&module) && both.ends_with(&module) && both.len() > 2 * module.len());
}
