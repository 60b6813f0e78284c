//! A copy of a series in a bucket: it is there when the server is told so, whatever is killed, and brings the series back when its folder is lost.
//!
//! S3 is played by `moto_server`. What it does not do: it believes every key, whatever signed the request, and forgets everything when it is stopped.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::site::{ENTRIES, Site, ended, kill, names, text};
use mainstay_pgkit::wait_until;

/// Where `cargo xtask test` has installed it.
fn moto_server() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let cache = set("MAINSTAY_CACHE").or_else(|| Some(set("XDG_CACHE_HOME")?.join("mainstay")));
    let cache = cache.or_else(|| Some(set("HOME")?.join(".cache/mainstay"))).expect("a cache folder");
    let program = cache.join("tools/moto/bin/moto_server");
    assert!(program.is_file(), "{} is not there: `cargo xtask test` installs it", program.display());
    program
}

/// S3, as far as it is played.
struct Bucket {
    moto: Child,
    endpoint: String,
}

/// A certificate for `localhost` that vouches for itself, and its key.
struct Certified {
    certificate: PathBuf,
    key: PathBuf,
    _dir: tempfile::TempDir,
}

impl Certified {
    fn new() -> Certified {
        let dir = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let (certificate, key) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
        fs::write(&certificate, made.cert.pem()).expect("written");
        fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        Certified { certificate, key, _dir: dir }
    }
}

impl Bucket {
    fn new() -> Bucket {
        Bucket::with(None)
    }

    fn with(certified: Option<&Certified>) -> Bucket {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
        let mut command = Command::new(moto_server());
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let mut endpoint = format!("http://127.0.0.1:{port}");
        if let Some(Certified { certificate, key, .. }) = certified {
            command.arg("-s").arg("-c").arg(certificate).arg("-k").arg(key);
            endpoint = format!("https://localhost:{port}");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let bucket = Bucket { moto: command.spawn().expect("it starts"), endpoint };
        wait_until("the bucket to be there", || bucket.curl(&["-X", "PUT"], "").is_some());
        bucket
    }

    /// Puts what is not ours.
    fn put(&self, content: &str, key: &str) {
        self.curl(&["-X", "PUT", "-H", "Content-Type: text/plain", "--data", content], key).expect("put");
    }

    /// Asks without us; `None`: it says no.
    fn curl(&self, args: &[&str], key: &str) -> Option<String> {
        let url = format!("{}/vault/{key}", self.endpoint);
        let output = Command::new("curl").args(["-sfk", "--max-time", "20"]).args(args).arg(url).output();
        let output = output.expect("curl is installed");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The keys in it that begin so.
    fn keys(&self, below: &str) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().map(|it| format!("&start-after={it}")).unwrap_or_default();
            let listed = self.curl(&[], &format!("?list-type=2&prefix=prod/{below}{after}")).expect("a list");
            let before = keys.len();
            keys.extend(listed.split("<Key>").skip(1).filter_map(|it| Some(it.split_once("</Key>")?.0.to_owned())));
            if keys.len() == before {
                return keys;
            }
        }
    }

    /// The names of the backups that are whole.
    fn whole(&self) -> Vec<String> {
        let of = |key: &String| Some(key.strip_prefix("prod/base/")?.strip_suffix("/backup.json")?.to_owned());
        self.keys("base/").iter().filter_map(of).collect()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ended = self.moto.kill();
        let _ended = self.moto.wait();
    }
}

/// A site whose series has a copy there, and the file that says where.
fn copied_to(bucket: &Bucket) -> (Site, PathBuf) {
    let site = Site::new();
    let keys = "access_key: AKIAIOSFODNN7EXAMPLE\nsecret_key: not-a-secret\n";
    let file = format!("bucket: vault\nprefix: prod\nendpoint: {}\n{keys}", bucket.endpoint);
    let file = site.primary.write("bucket.yaml", &file);
    private(&file);
    let plan = fs::read_to_string(site.plan()).expect("the plan");
    let copies = format!("        copies: [{{ location: {{ region: far }}, bucket: {file:?} }}]\n");
    let kept = "        keep: 14d\n";
    fs::write(site.plan(), plan.replace(kept, &format!("{kept}{copies}"))).expect("written");
    (site, file)
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("set");
}

impl Site {
    fn postgres(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command.arg("postgres").args(args).current_dir("/");
        command
    }

    fn archive_to(&self, file: &Path) {
        let (program, folder) = (self.program(), self.folder());
        let to = format!("--to {} --bucket {}", folder.display(), file.display());
        self.primary.sql(&format!(
            "ALTER SYSTEM SET archive_command = '{} postgres archive \"%p\" %f {to}'",
            program.display()
        ));
        self.primary.sql("SELECT pg_reload_conf()");
    }
}

#[test]
fn a_series_whose_folder_is_lost_is_brought_back_and_restored() {
    let bucket = Bucket::new();
    let (site, file) = copied_to(&bucket);
    // What was archived before is copied with the first backup.
    site.archive_all();
    site.archive_to(&file);
    let first = site.json(&["backup"]);
    assert_eq!(first["copied_to"][0], "s3://vault/prod/");
    site.insert(101..201);
    let second = site.json(&["backup"]);
    site.insert(201..301);
    let (moment, entries) = (site.moment(), site.primary.sql(ENTRIES));
    site.primary.sql("DELETE FROM entries");
    site.archive_all();
    let listed = || site.listed();
    wait_until("the bucket to have all of it", || listed()["copied_to"][0] == "s3://vault/prod/");
    let in_bucket: Vec<&str> =
        [&first, &second].iter().map(|it| it["backup"]["name"].as_str().expect("a name")).collect();
    assert_eq!(bucket.whole(), in_bucket);

    let (wal, base) = (names(&site.folder().join("wal")), names(&site.folder().join("base")));
    site.primary.sql("ALTER SYSTEM SET archive_command = '/bin/false'");
    site.primary.sql("SELECT pg_reload_conf()");
    for entry in fs::read_dir(site.folder()).expect("the folder").flatten() {
        let path = entry.path();
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("it is lost");
    }
    let folder = site.folder().display().to_string();
    let bring = |more: &[&str]| {
        let file = file.display().to_string();
        let args = ["bring-back", "--bucket", &file, "--to", &folder];
        let output = ended(&mut site.postgres(&[&args, more].concat()));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    };
    bring(&["--newest"]);
    assert_eq!(names(&site.folder().join("base")), [in_bucket[1]]);
    assert!(names(&site.folder().join("wal")).len() < wal.len(), "what only the first one needs does not come");
    let beside = site.beside("newest");
    site.json(&["restore", "--to", &moment, "--beside", beside.path()]);
    assert_eq!(beside.entries(), entries);
    bring(&[]);
    assert_eq!((names(&site.folder().join("wal")), names(&site.folder().join("base"))), (wal, base));
    let beside = site.beside("all");
    site.json(&["restore", "--to", &moment, "--beside", beside.path()]);
    assert_eq!(beside.entries(), entries);
}

#[test]
fn what_the_bucket_does_not_have_is_not_archived() {
    let bucket = Bucket::new();
    let (site, file) = copied_to(&bucket);
    let at = |prefix: &str| {
        let elsewhere = fs::read_to_string(&file).expect("it is there").replace("prefix: prod", prefix);
        let elsewhere = site.primary.write("elsewhere.yaml", &elsewhere);
        private(&elsewhere);
        elsewhere
    };
    site.archive_all();
    let name = names(&site.folder().join("wal")).into_iter().next_back().expect("a segment");
    let (from, folder) = (site.folder().join("wal").join(&name), site.folder());
    let archive = |file: &Path| {
        let [from, to, file] = [&from, &folder, file].map(|it| it.display().to_string());
        ended(&mut site.postgres(&["archive", &from, &name, "--to", &to, "--bucket", &file]))
    };
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
    let away = format!("bucket: vault\nendpoint: http://127.0.0.1:{nobody}\naccess_key: A\nsecret_key: S3CR3T\n");
    let away = site.primary.write("away.yaml", &away);
    private(&away);
    let begun = Instant::now();
    let refused = archive(&away);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    assert!(text(&refused).contains("s3://vault/") && !text(&refused).contains("S3CR3T"), "{}", text(&refused));
    assert!(begun.elapsed() > Duration::from_secs(1), "it is tried again");
    for _ in 0..2 {
        assert_eq!(archive(&file).status.code(), Some(0), "the same again is no mistake");
    }
    assert_eq!(bucket.keys("wal/"), [format!("prod/wal/{name}")]);

    // Another file of that name stays.
    let key = format!("shared/wal/{name}");
    bucket.put("something else", &key);
    let refused = archive(&at("prefix: shared"));
    assert_eq!(refused.status.code(), Some(4), "{}", text(&refused));
    assert!(text(&refused).contains(&format!("another wal/{name} is in it")), "{}", text(&refused));
    assert_eq!(archive(&at("prefix: shared")).status.code(), Some(4), "it stays");

    // Another series' place is not written to.
    bucket.put("0123456789abcdef", "theirs/owner");
    let refused = archive(&at("prefix: theirs"));
    assert_eq!(refused.status.code(), Some(4), "{}", text(&refused));
    assert!(text(&refused).contains("the place of another series (0123456789abcdef)"), "{}", text(&refused));
    let trouble = site.listed()["trouble"].to_string();
    assert!(trouble.contains("there is no backup"), "{trouble}");
}

#[test]
fn a_copy_that_is_killed_is_none_and_the_next_one_goes_on() {
    let bucket = Bucket::new();
    let (site, file) = copied_to(&bucket);
    site.archive_all();
    let mut killed_in_the_middle = 0;
    let plan = fs::read_to_string(site.plan()).expect("the plan");
    let without: String = plan.lines().filter(|it| !it.contains("copies:")).map(|it| format!("{it}\n")).collect();
    fs::write(site.plan(), without).expect("written");
    let name = site.json(&["backup"])["backup"]["name"].as_str().expect("a name").to_owned();
    fs::write(site.plan(), plan).expect("written");
    let copy = || {
        let (from, file) = (site.folder().display().to_string(), file.display().to_string());
        site.postgres(&["copy", "--from", &from, "--bucket", &file])
    };
    for millis in [150, 300, 500] {
        let mut child = copy().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        thread::sleep(Duration::from_millis(millis));
        kill(child.id());
        let status = child.wait().expect("it ends");
        killed_in_the_middle += usize::from(!status.success() && !bucket.keys("base/").is_empty());
        if status.success() {
            break;
        }
        assert_eq!(bucket.whole(), Vec::<String>::new(), "after {millis} ms");
    }
    assert!(killed_in_the_middle > 0, "none was killed while it copied");
    let output = ended(&mut copy());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(bucket.whole(), [name]);
    let listed = site.listed();
    assert_eq!(listed["copied_to"][0], "s3://vault/prod/", "{listed}");
}

#[test]
fn what_nobody_needs_any_more_is_removed_from_the_bucket_too() {
    let bucket = Bucket::new();
    let (site, file) = copied_to(&bucket);
    site.archive_to(&file);
    site.archive_all();
    let first = site.json(&["backup"])["backup"]["name"].as_str().expect("a name").to_owned();
    site.archive_all();
    // Lost here, it stays there.
    fs::remove_dir_all(site.folder().join("base").join(&first)).expect("removed");
    let second = site.json(&["backup"])["backup"]["name"].as_str().expect("a name").to_owned();
    assert_eq!(bucket.whole(), [first.clone(), second.clone()]);
    let plan = fs::read_to_string(site.plan()).expect("the plan");
    fs::write(site.plan(), plan.replace("keep: 14d", "keep: 1s")).expect("written");
    thread::sleep(Duration::from_millis(1500));
    for foreign in ["base/notes/readme", "base/base/20261129T201500Z/backup.json", "wal/notes"] {
        bucket.put("somebody else's", &format!("prod/{foreign}"));
    }
    let third = site.json(&["backup"])["backup"]["name"].as_str().expect("a name").to_owned();
    // The second is needed for moments before the third, unless that is as old by now.
    let kept = names(&site.folder().join("base"));
    assert!(kept == [second, third.clone()] || kept == [third], "{kept:?}");
    assert_eq!(bucket.keys("base/notes/").len() + bucket.keys("base/base/").len() + bucket.keys("wal/notes").len(), 3);
    let whole: Vec<String> = bucket.whole().into_iter().filter(|it| !it.starts_with("base/")).collect();
    assert_eq!(whole, kept);
    assert!(bucket.keys(&format!("base/{first}/")).is_empty(), "nothing of the first is left");
    let here: Vec<String> = names(&site.folder().join("wal")).into_iter().map(|it| format!("prod/wal/{it}")).collect();
    let log: Vec<String> = bucket.keys("wal/").into_iter().filter(|it| !it.ends_with("notes")).collect();
    assert_eq!(log, here, "nor of the log that only it needed");
}

#[test]
fn a_place_in_a_bucket_is_one_series() {
    let bucket = Bucket::new();
    let (site, file) = copied_to(&bucket);
    site.archive_all();
    let first = site.json(&["backup"])["backup"]["name"].as_str().expect("a name").to_owned();
    let keys = bucket.keys("");
    // Another series of the same server, which keeps less.
    let (plan, other) = (fs::read_to_string(site.plan()).expect("the plan"), site.primary.folder("other"));
    let less = plan.replace(&format!("{:?}", site.folder()), &format!("{other:?}")).replace("keep: 14d", "keep: 1s");
    fs::write(site.plan(), less).expect("written");
    let output = ended(&mut site.command(&["backup"]));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("taken and verified") && said.contains("the place of another series"), "{said}");
    assert_eq!(bucket.keys(""), keys, "nothing was put, and nothing was removed");
    let args = |from: &Path| ["copy".to_owned(), "--from".to_owned(), from.display().to_string()];
    let copy = |from: &Path| {
        let mut args = args(from).to_vec();
        args.extend(["--bucket".to_owned(), file.display().to_string()]);
        ended(&mut site.postgres(&args.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    assert_eq!(copy(&other).status.code(), Some(4));
    // Nothing takes a place for nothing, and what was lost is not begun anew in its place.
    let unused = site.primary.folder("unused");
    assert_eq!(copy(&unused).status.code(), Some(0));
    assert!(!unused.join("series").exists());
    let lost = site.primary.folder("lost");
    let name = names(&site.folder().join("wal")).into_iter().next_back().expect("a segment");
    let (from, to) = (site.folder().join("wal").join(&name).display().to_string(), lost.display().to_string());
    let bucket_file = file.display().to_string();
    let archived = ended(&mut site.postgres(&["archive", &from, &name, "--to", &to, "--bucket", &bucket_file]));
    assert_eq!(archived.status.code(), Some(4), "{}", text(&archived));
    assert!(text(&archived).contains("`mainstay postgres bring-back` makes it that again"), "{}", text(&archived));
    // The one that was brought back is the one that was lost, and goes on.
    let empty = site.primary.folder("empty");
    let bring = |to: &Path| {
        let (file, to) = (file.display().to_string(), to.display().to_string());
        ended(&mut site.postgres(&["bring-back", "--bucket", &file, "--to", &to]))
    };
    assert_eq!(bring(&other).status.code(), Some(4));
    assert_eq!(bring(&lost).status.code(), Some(0), "what the server has archived since is no hindrance");
    assert_eq!(names(&lost.join("base")), std::slice::from_ref(&first));
    assert_eq!(bring(&empty).status.code(), Some(0));
    assert_eq!(names(&empty.join("base")), [first]);
    assert_eq!(copy(&empty).status.code(), Some(0));
}

#[test]
fn one_bucket_that_is_away_does_not_keep_the_other_from_having_it() {
    let bucket = Bucket::new();
    let (site, file) = copied_to(&bucket);
    site.archive_all();
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
    let away = format!("bucket: gone\nendpoint: http://127.0.0.1:{nobody}\naccess_key: A\nsecret_key: B\n");
    let away = site.primary.write("away.yaml", &away);
    private(&away);
    let plan = fs::read_to_string(site.plan()).expect("the plan");
    let both = plan.replace("copies: [", &format!("copies: [{{ location: {{ region: gone }}, bucket: {away:?} }}, "));
    fs::write(site.plan(), both).expect("written");
    let output = ended(&mut site.command(&["backup"]));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("taken and verified") && said.contains("copied to s3://vault/prod/"), "{said}");
    assert!(said.contains("it is not copied: s3://gone/"), "{said}");
    assert_eq!(bucket.whole(), names(&site.folder().join("base")));
    drop(file);
}

#[test]
fn what_can_not_be_used_does_not_keep_the_rest_from_coming_back() {
    let bucket = Bucket::new();
    let (site, file) = copied_to(&bucket);
    site.archive_all();
    let first = site.json(&["backup"])["backup"]["name"].as_str().expect("a name").to_owned();
    let second = site.json(&["backup"])["backup"]["name"].as_str().expect("a name").to_owned();
    // Some programs mark a folder so.
    bucket.put("", &format!("prod/base/{second}/data/"));
    // Of this one, what its description says is not there.
    let third = "20200202T000000Z";
    let description =
        fs::read_to_string(site.folder().join("base").join(&second).join("backup.json")).expect("it is there");
    bucket.put(&description.replace(&second, third), &format!("prod/base/{third}/backup.json"));
    bucket.put("{", "prod/base/20200101T000000Z/backup.json");
    bucket.put("no segment", "prod/wal/0000000100000000000000F0");
    let empty = site.primary.folder("empty");
    fs::create_dir_all(empty.join("base").join(&first)).expect("made");
    let (from, to) = (file.display().to_string(), empty.display().to_string());
    let output = ended(&mut site.postgres(&["bring-back", "--bucket", &from, "--to", &to]));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let said = text(&output);
    for part in [
        &format!("the backup {third} did not come"),
        "20200101T000000Z/backup.json is damaged",
        &format!("{first} is there and can't be used: move it away"),
        "`0000000100000000000000F0` is damaged",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(empty.join("base").join(&second).join("backup.json").is_file());
    assert_eq!(names(&empty.join("wal")), names(&site.folder().join("wal")), "nothing is left beside it");

    // Of a bucket in which something can't be read, nothing of the log is removed.
    let log = bucket.keys("wal/");
    let plan = fs::read_to_string(site.plan()).expect("the plan");
    fs::write(site.plan(), plan.replace("keep: 14d", "keep: 1s")).expect("written");
    thread::sleep(Duration::from_millis(1500));
    let said = ended(&mut site.command(&["backup"]));
    assert_eq!(said.status.code(), Some(0), "{}", text(&said));
    assert!(
        text(&said).contains("trouble: s3://vault/prod/: base/20200101T000000Z/backup.json is damaged"),
        "{}",
        text(&said)
    );
    let after = bucket.keys("wal/");
    assert!(log.iter().all(|it| after.contains(it)), "{log:?}, {after:?}");
}

#[test]
fn a_gap_in_the_bucket_is_no_end_of_the_log() {
    let bucket = Bucket::new();
    let (site, file) = copied_to(&bucket);
    for at in 0..3 {
        site.insert(1000 + at..1001 + at);
        site.archive_all();
    }
    let all = names(&site.folder().join("wal"));
    let gap = &all[all.len() - 2];
    for name in all.iter().filter(|it| *it != gap) {
        let segment = site.folder().join("wal").join(name).display().to_string();
        bucket.curl(&["-T", &segment], &format!("prod/wal/{name}")).expect("put");
    }
    let empty = site.primary.folder("empty");
    let fetch = |strict: bool, name: &str, file: &Path| {
        let (to, from, file) = (site.primary.path("fetched"), empty.display().to_string(), file.display().to_string());
        let to = to.display().to_string();
        let mut args = vec!["fetch", name, &to, "--from", &from, "--bucket", &file];
        args.extend(strict.then_some("--strict"));
        ended(&mut site.postgres(&args))
    };
    let refused = fetch(true, gap, &file);
    assert_eq!(refused.status.code(), Some(200), "{}", text(&refused));
    assert!(text(&refused).contains("is missing from the archive"), "{}", text(&refused));
    assert_eq!(fetch(false, gap, &file).status.code(), Some(1));
    assert_eq!(fetch(true, "FFFFFFFFFFFFFFFFFFFFFFFF", &file).status.code(), Some(1), "nothing comes after it");
    assert_eq!(fetch(true, &all[0], &file).status.code(), Some(0));

    // Somebody who knows no such place has not said that the log ends.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
    let mut elsewhere = Command::new("python3")
        .args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()])
        .current_dir(&empty)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 is installed");
    let at = format!("bucket: vault\nendpoint: http://127.0.0.1:{port}\naccess_key: A\nsecret_key: B\n");
    let at = site.primary.write("elsewhere.yaml", &at);
    private(&at);
    wait_until("somebody to answer", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let answered = fetch(false, gap, &at);
    let _ended = elsewhere.kill();
    let _ended = elsewhere.wait();
    assert_eq!(answered.status.code(), Some(3), "{}", text(&answered));
}

/// The keys come from the metadata service of the machine, where nothing else says any.
#[test]
fn a_machine_uses_the_keys_of_its_role() {
    let bucket = Bucket::new();
    let (site, _) = copied_to(&bucket);
    site.archive_all();
    let file = format!("bucket: vault\nprefix: prod\nendpoint: {}\n", bucket.endpoint);
    let file = site.primary.write("role.yaml", &file).display().to_string();
    let from = site.folder().display().to_string();
    let copy = |metadata: &str| {
        let mut command = site.postgres(&["copy", "--from", &from, "--bucket", &file]);
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            command.env_remove(name);
        }
        ended(command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata))
    };
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
    let refused = copy(&format!("http://127.0.0.1:{nobody}"));
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(text(&refused).contains("no keys"), "{}", text(&refused));
    let copied = copy(&bucket.endpoint);
    assert_eq!(copied.status.code(), Some(0), "{}", text(&copied));
    assert!(!bucket.keys("wal/").is_empty());
}

#[test]
fn a_bucket_has_to_show_a_certificate_that_is_trusted() {
    let certified = Certified::new();
    let bucket = Bucket::with(Some(&certified));
    let (site, file) = copied_to(&bucket);
    site.archive_all();
    let from = site.folder().display().to_string();
    let copy =
        |file: &Path| ended(&mut site.postgres(&["copy", "--from", &from, "--bucket", &file.display().to_string()]));
    let refused = copy(&file);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(text(&refused).contains("certificate"), "{}", text(&refused));
    assert!(bucket.keys("").is_empty());
    let trusted = format!(
        "{}ca_file: {}\n",
        fs::read_to_string(&file).expect("it is there"),
        site.primary.write("ca.pem", &fs::read_to_string(&certified.certificate).expect("a certificate")).display()
    );
    let trusted = site.primary.write("trusted.yaml", &trusted);
    private(&trusted);
    let copied = copy(&trusted);
    assert_eq!(copied.status.code(), Some(0), "{}", text(&copied));
    assert!(!bucket.keys("wal/").is_empty());
}
