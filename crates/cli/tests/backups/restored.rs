//! What is restored is what was there, row by row, and in the time that a test has measured.

use super::site::{ENTRIES, Site, names, text};

/// How much longer a restore may take than the last test of it: the machine has other work, too.
const MARGIN: u64 = 4;

#[test]
fn a_server_is_restored_to_a_moment_a_place_a_name_and_the_end() {
    let site = Site::new();
    let taken = site.json(&["backup"]);
    assert_eq!(taken["backup"]["role"], "primary");
    site.insert(101..201);
    let (moment, at_moment) = (site.moment(), site.primary.sql(ENTRIES));
    site.insert(201..301);
    let (place, at_place) = (site.primary.sql("SELECT pg_current_wal_insert_lsn()"), site.primary.sql(ENTRIES));
    // So that the place is passed.
    site.primary.sql("DELETE FROM entries WHERE n = 250");
    let at_name = site.primary.sql(ENTRIES);
    site.primary.sql("SELECT pg_create_restore_point('before-the-mistake')");
    site.primary.sql("DELETE FROM entries WHERE n > 120");
    let at_end = site.primary.sql(ENTRIES);
    site.archive_all();
    // A name is looked for in older backups, too, where the newest does not hold it.
    site.json(&["backup"]);
    let restored = |to: &str, name: &str, expected: &str| {
        let beside = site.beside(name);
        let told = site.json(&["restore", "--to", to, "--beside", beside.path()]);
        assert_eq!(beside.entries(), expected, "{to}: {told}");
        assert_eq!(told["checked"], true);
        assert_eq!(beside.sql("SELECT current_setting('archive_mode')"), "off");
        told
    };
    restored(&moment, "moment", &at_moment);
    restored(&place, "place", &at_place);
    let told = restored("before-the-mistake", "name", &at_name);
    assert_eq!(told["backup"], taken["backup"]["name"]);
    restored("latest", "latest", &at_end);
    assert_eq!(names(&site.primary.path("restored")), ["latest", "moment", "name", "place"], "no mark is left");
    // The old server goes on, untouched.
    assert_eq!(site.primary.sql(ENTRIES), at_end);
    site.primary.sql("INSERT INTO entries VALUES (1000, 'goes on')");
}

#[test]
fn what_can_not_be_reached_is_said_and_leaves_nothing() {
    let site = Site::new();
    let before = site.moment();
    site.json(&["backup"]);
    site.archive_all();
    let beside = site.beside("beside");
    let of = |to: &str| site.refusal(&["restore", "--to", to, "--beside", beside.path()]);
    assert!(of(&before).contains("the oldest backup was complete at"), "{}", of(&before));
    assert!(of("2099-01-01T00:00:00Z").contains("the archive ends before that"));
    assert!(of("never-made").contains("the archive ends before that"));
    assert!(of("0/100").contains("the oldest backup was complete at"));
    assert_eq!(names(&site.primary.path("restored")), Vec::<String>::new());
    std::fs::create_dir(&beside.data).expect("made");
    assert!(of("latest").contains("is there already"));
}

#[test]
fn a_restore_takes_no_longer_than_its_test_said() {
    let site = Site::new().with_standby();
    assert_eq!(site.json(&["backup"])["backup"]["role"], "standby", "the primary has other work");
    site.insert(101..20_001);
    site.archive_all();
    assert!(site.listed()["backups"][0]["tested"].is_null());
    assert!(site.listed()["trouble"][0].as_str().is_some_and(|it| it.contains("to see that it can be")));
    assert_eq!(site.json(&["backup", "--if-due"]), serde_json::json!({}), "one a day");
    let tested = site.json(&["restore", "--test", "--if-due"]);
    assert_eq!(site.json(&["restore", "--test", "--if-due"]), serde_json::json!({}), "one a week");
    assert_eq!((&tested["checked"], &tested["data"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!(names(&site.folder().join("restored")), Vec::<String>::new(), "nothing of it is left");
    let listed = site.listed();
    let bound = listed["backups"][0]["tested"]["took_ms"].as_u64().expect("it was measured");
    assert_eq!(bound, tested["took_ms"].as_u64().expect("it was measured"));
    assert_eq!(listed["trouble"], serde_json::json!([]), "{listed}");
    let beside = site.beside("beside");
    let told = site.json(&["restore", "--to", "latest", "--beside", beside.path()]);
    let took = told["took_ms"].as_u64().expect("it was measured");
    assert!(took <= bound * MARGIN, "{took} ms, and the test took {bound} ms");
    assert_eq!(beside.entries(), site.primary.sql(ENTRIES));
    let shown = text(&site.command(&["backups"]).output().expect("it runs"));
    assert!(shown.contains("standby") && shown.contains("archive"), "{shown}");
}
