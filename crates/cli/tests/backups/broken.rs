//! Changed files, missing files, full disks, and processes that are killed.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use mainstay_pgkit::{bin, wait_until};

use super::site::{ENTRIES, Site, ended, kill, names, text};

/// Where a table's first page is, behind its header.
const SOMEWHERE: u64 = 8000;

fn change(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).expect("it is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is that long");
    file.write_all_at(&[byte[0] ^ 0xFF], at).expect("it is changed");
}

fn latest(site: &Site) -> String {
    let beside = site.beside("beside");
    let told = site.refusal(&["restore", "--to", "latest", "--beside", beside.path()]);
    assert_eq!(names(&site.primary.path("restored")), Vec::<String>::new(), "{told}");
    told
}

#[test]
fn a_backup_that_was_changed_is_not_restored() {
    let site = Site::new();
    let taken = site.json(&["backup"]);
    site.archive_all();
    let relation = site.primary.sql("SELECT pg_relation_filepath('entries')");
    let name = taken["backup"]["name"].as_str().expect("a name");
    change(&site.folder().join("base").join(name).join("data").join(relation), SOMEWHERE);
    assert!(latest(&site).contains("it is not whole"), "{}", latest(&site));
}

#[test]
fn a_log_with_a_gap_or_a_change_is_not_taken_for_all_of_it() {
    let site = Site::new();
    site.json(&["backup"]);
    for batch in 1..5 {
        site.insert(batch * 1000..batch * 1000 + 500);
        site.archive_all();
    }
    let wal = site.folder().join("wal");
    let segments: Vec<String> = names(&wal).into_iter().filter(|it| it.len() == 24).collect();
    // The backup brings the log that it needs itself.
    let middle = wal.join(&segments[segments.len() - 3]);
    let kept = fs::read(&middle).expect("it is there");
    fs::remove_file(&middle).expect("it is removed");
    assert!(latest(&site).contains("is missing from the archive"), "{}", latest(&site));
    let listed = site.listed();
    assert!(listed["trouble"].to_string().contains("is missing from the archive"), "{listed}");
    fs::write(&middle, &kept).expect("it is there again");
    (0..64).for_each(|it| change(&middle, 8192 + it));
    assert!(latest(&site).contains("the log can't be read from"), "{}", latest(&site));
    fs::write(&middle, &kept[..1000]).expect("it is cut");
    assert!(latest(&site).contains("is damaged"), "{}", latest(&site));
    fs::write(&middle, &kept).expect("it is there again");
    let beside = site.beside("beside");
    site.json(&["restore", "--to", "latest", "--beside", beside.path()]);
    assert_eq!(beside.entries(), site.primary.sql(ENTRIES));
}

#[test]
fn the_check_of_the_plan_decides() {
    let site = Site::new();
    site.json(&["backup"]);
    site.primary.sql("DELETE FROM entries WHERE n > 50");
    site.archive_all();
    assert!(latest(&site).contains("its check says: f"), "{}", latest(&site));
}

#[test]
fn a_killed_backup_leaves_nothing_that_looks_like_one() {
    let site = Site::new();
    site.primary.sql("CREATE TABLE bulk AS SELECT n, repeat('x', 500) AS filler FROM generate_series(1, 60000) n");
    let base = site.folder().join("base");
    for files in [0, 20, 300] {
        let mut running = site.spawn(&["backup"]);
        wait_until("a backup that is being taken", || {
            let taking = names(&base).into_iter().find(|it| it.starts_with('.'));
            taking.is_some_and(|it| count(&base.join(it)) >= files) || running.try_wait().is_ok_and(|it| it.is_some())
        });
        kill(running.id());
        running.wait().expect("it is gone");
        // It may have been done before the kill came; then it is whole.
        for backup in site.listed()["backups"].as_array().expect("a list") {
            let data = base.join(backup["name"].as_str().expect("a name")).join("data");
            let verify = bin().expect("it is installed").join("pg_verifybackup");
            let output = ended(Command::new(verify).arg(&data));
            assert!(output.status.success(), "after {files} files: {}", text(&output));
        }
    }
    site.json(&["backup"]);
    site.archive_all();
    assert!(names(&base).iter().all(|it| !it.starts_with('.')), "leftovers are removed: {:?}", names(&base));
    let beside = site.beside("beside");
    site.json(&["restore", "--to", "latest", "--beside", beside.path()]);
    assert_eq!(beside.entries(), site.primary.sql(ENTRIES));
}

/// How many files are below.
fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|it| if it.path().is_dir() { count(&it.path()) } else { 1 }).sum()
}

#[test]
fn a_killed_restore_is_made_anew() {
    let site = Site::new();
    site.json(&["backup"]);
    site.insert(101..5001);
    site.archive_all();
    let beside = site.beside("beside");
    let args = ["restore", "--to", "latest", "--beside", beside.path()];
    for appears in ["global/pg_control", "mainstay-restore.conf", "postmaster.pid"] {
        let mut running = site.spawn(&args);
        wait_until(appears, || beside.data.join(appears).exists() || running.try_wait().is_ok_and(|it| it.is_some()));
        kill(running.id());
        running.wait().expect("it is gone");
        assert!(site.primary.path("restored").join(".beside.restoring").exists(), "{appears}: it is marked");
    }
    site.json(&args);
    assert_eq!(beside.entries(), site.primary.sql(ENTRIES));
    assert_eq!(names(&site.primary.path("restored")), ["beside"]);
}

#[test]
fn a_killed_archiver_leaves_a_whole_file_or_none() {
    let site = Site::new();
    site.archive_all();
    let wal = site.folder().join("wal");
    let name = names(&wal).into_iter().find(|it| it.len() == 24).expect("a segment");
    let source = site.primary.folder("segment").join(&name);
    fs::rename(wal.join(&name), &source).expect("it is archived anew");
    let kept = fs::read(&source).expect("it is there");
    let before = names(&wal).len();
    let archive = || {
        let mut command = Command::new(site.program());
        command.args(["postgres", "archive"]).arg(&source).arg(&name).arg("--to").arg(site.folder());
        command
    };
    let mut killed = 0;
    for _ in 0..100 {
        let mut running = archive().stderr(Stdio::null()).spawn().expect("it starts");
        wait_until("a copy, or the end of it", || {
            let is_under_way = names(&wal).len() > before + killed;
            is_under_way || running.try_wait().is_ok_and(|it| it.is_some())
        });
        kill(running.id());
        let was_in_time = !running.wait().expect("it is gone").success();
        if let Ok(found) = fs::read(wal.join(&name)) {
            assert!(found == kept, "it is whole");
            fs::remove_file(wal.join(&name)).expect("it is archived anew");
        }
        killed += usize::from(was_in_time);
        if killed == 3 {
            break;
        }
    }
    assert!(killed > 0, "none was killed in time");
    for _ in 0..2 {
        let output = ended(&mut archive());
        assert!(output.status.success(), "{}", text(&output));
    }
    assert!(fs::read(wal.join(&name)).expect("it is there") == kept);
}

#[test]
fn on_a_full_disk_nothing_is_kept_and_nothing_is_touched() {
    let site = Site::new();
    let small = |folder: &Path, size: &str, args: &[&str]| {
        let mut command = Command::new("unshare");
        let script = format!(
            "mount -t tmpfs -o size={size},mode=777 tmpfs {0} && chown --reference={1} {0} && \"$@\"; code=$?; ls -A {0} {0}/base; exit $code",
            folder.display(),
            site.primary.data().display()
        );
        let inner = site.command(args);
        command.args(["-m", "--propagation", "private", "sh", "-c", &script, "sh"]);
        command.arg(inner.get_program()).args(inner.get_args()).current_dir("/");
        let output = ended(&mut command);
        (output.status.code(), text(&output), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    if !Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|it| it.success()) {
        eprintln!("skipped: no permission for a mount namespace (unshare -m)");
        return;
    }
    let segment = site.primary.data().join("pg_wal").join(site.primary.sql("SELECT pg_walfile_name('0/1000028')"));
    let name = segment.file_name().expect("a name").to_str().expect("text").to_owned();
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=8m tmpfs \"$2\" && \"$0\" postgres archive \"$1\" \"$3\" --to \"$2\"; code=$?; ls -A \"$2/wal\"; exit $code";
    command.args(["-m", "--propagation", "private", "sh", "-c", script]).arg(site.program());
    let output = ended(command.arg(&segment).arg(site.folder()).arg(&name).current_dir("/"));
    assert!(output.status.code() == Some(3) && output.stdout.is_empty(), "nothing is left: {}", text(&output));
    assert!(text(&output).contains("No space left on device"), "{}", text(&output));
    let (code, told, _) = small(&site.folder(), "8m", &["backup"]);
    assert!(code == Some(1) && told.contains("has room for"), "{told}");
    let (code, told, left) = small(&site.folder(), "36m", &["backup"]);
    assert!(code == Some(1) && told.contains("No space left on device"), "{told}");
    assert!(!left.contains("taking") && !left.contains("2026"), "nothing is left: {left}");
    site.json(&["backup"]);
    site.insert(101..201);
    site.archive_all();
    let beside = site.beside("beside");
    let restored = beside.data.parent().expect("its folder");
    let (code, told, _) = small(restored, "8m", &["restore", "--to", "latest", "--beside", beside.path()]);
    assert!(code == Some(1) && told.contains("has room for"), "{told}");
    let (code, told, left) = small(restored, "46m", &["restore", "--to", "latest", "--beside", beside.path()]);
    assert!(code == Some(1) && !left.contains("beside\n") && !left.contains("restoring\n"), "{told}");
    site.json(&["restore", "--to", "latest", "--beside", beside.path()]);
    assert_eq!(beside.entries(), site.primary.sql(ENTRIES));
}
