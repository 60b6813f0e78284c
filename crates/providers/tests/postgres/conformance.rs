//! One story, told to real servers and to the simulator's database: what is proved of recoveries in the simulator rests on the two being
//! alike in what they say of themselves.

use std::collections::BTreeMap;

use mainstay_pgkit::{Server, wait_until};
use mainstay_plan::Time;
use mainstay_plan::observation::{LogPosition, SeenRole};
use mainstay_plan::postgres::{FreshCopy, OldData, RejoinHow};
use mainstay_sim::world::log::{Log, Stand};

use super::*;

/// A database on three servers, of which `a` is the primary in the beginning.
trait Database {
    /// What a server says of itself, if it answers.
    async fn says(&mut self, name: &str) -> Option<(SeenRole, LogPosition)>;
    /// A client writes to a primary, and time passes.
    async fn write(&mut self, to: &str);
    /// Time passes until those that can follow have what the leader has.
    async fn settle(&mut self, leader: &str, followers: &[&str]);
    /// A standby hears nothing of its leader any more.
    async fn cut(&mut self, name: &str);
    async fn kill(&mut self, name: &str);
    /// Started as it was when it was killed.
    async fn start(&mut self, name: &str);
    async fn promote(&mut self, name: &str);
    async fn follow(&mut self, name: &str, leader: &str);
    /// An old primary is made a standby, whatever it alone has.
    async fn rejoin(&mut self, name: &str, leader: &str);

    async fn at(&mut self, name: &str) -> LogPosition {
        self.says(name).await.unwrap_or_else(|| panic!("{name} does not answer")).1
    }

    async fn is(&mut self, name: &str) -> SeenRole {
        self.says(name).await.unwrap_or_else(|| panic!("{name} does not answer")).0
    }
}

async fn story(db: &mut impl Database) {
    // All of them are one system, on one timeline.
    let (first, of_b, of_c) = (db.at("a").await, db.at("b").await, db.at("c").await);
    assert!(first.is_comparable(&of_b) && first.is_comparable(&of_c), "{first:?} {of_b:?} {of_c:?}");
    let roles = [db.is("a").await, db.is("b").await, db.is("c").await];
    assert_eq!(roles, [SeenRole::Active, SeenRole::Standby, SeenRole::Standby]);

    // Who writes goes on, and those that follow come after.
    db.write("a").await;
    let second = db.at("a").await;
    assert!(second.at > first.at, "{second:?} {first:?}");
    db.settle("a", &["b", "c"]).await;
    assert!(db.at("b").await.at >= second.at && db.at("c").await.at >= second.at);

    // Who hears nothing stays where it is.
    db.cut("c").await;
    let left = db.at("c").await;
    db.write("a").await;
    db.settle("a", &["b"]).await;
    let third = db.at("a").await;
    assert_eq!(db.at("c").await, left);
    assert!(third.at > left.at && db.at("b").await.at > left.at, "{third:?} {left:?}");

    // Who is gone says nothing, and takes nothing from the others.
    let before = db.at("b").await;
    db.kill("a").await;
    assert_eq!(db.says("a").await, None);
    assert_eq!(db.at("b").await, before);

    // Who is promoted has what it had, on a timeline that cannot be compared with the one before.
    db.promote("b").await;
    let promoted = db.at("b").await;
    assert_eq!((db.is("b").await, &promoted.system), (SeenRole::Active, &before.system));
    assert!(promoted.at >= before.at && !promoted.is_comparable(&before), "{promoted:?} {before:?}");

    // Who was no further than that follows, and is on the new timeline then.
    db.follow("c", "b").await;
    db.write("b").await;
    db.settle("b", &["c"]).await;
    let (leads, follows) = (db.at("b").await, db.at("c").await);
    assert!(leads.is_comparable(&follows) && follows.at > promoted.at, "{leads:?} {follows:?}");

    // An old primary that comes back goes on as before, beside them: it does not know.
    db.start("a").await;
    let alone = db.at("a").await;
    assert_eq!(db.is("a").await, SeenRole::Active);
    assert!(alone.is_comparable(&third) && alone.at >= third.at && !alone.is_comparable(&leads), "{alone:?} {third:?}");
    db.write("a").await;
    assert!(db.at("a").await.at > alone.at);

    // Made a standby, it is where the others are.
    db.rejoin("a", "b").await;
    db.write("b").await;
    db.settle("b", &["a", "c"]).await;
    let (leads, follows) = (db.at("b").await, db.at("a").await);
    assert_eq!(db.is("a").await, SeenRole::Standby);
    assert!(leads.is_comparable(&follows) && follows.at > promoted.at, "{leads:?} {follows:?}");

    // Killed and started, a primary is what it was, and no further back.
    let before = db.at("b").await;
    db.kill("b").await;
    db.start("b").await;
    let after = db.at("b").await;
    assert_eq!(db.is("b").await, SeenRole::Active);
    assert!(after.is_comparable(&before) && after.at >= before.at, "{after:?} {before:?}");
}

#[tokio::test]
async fn real_servers_do_as_is_told() {
    let secrets = Secrets::right();
    let a = Server::primary(&[]);
    let (b, c) = (a.standby("b", false, &[]), a.standby("c", false, &[]));
    a.sql("CREATE TABLE t (n int)");
    let servers = [("a", a), ("b", b), ("c", c)].map(|(name, it)| (name.to_owned(), it));
    story(&mut Real { secrets, servers: servers.into() }).await;
}

#[tokio::test]
async fn so_does_the_database_of_the_simulator() {
    let now = Time::from_millis(1_000_000);
    let stand = |role| Stand { up: true, role, lag: Duration::ZERO };
    let servers = [("a", SeenRole::Active), ("b", SeenRole::Standby), ("c", SeenRole::Standby)];
    let log = Log::new("ledger", now, servers.map(|(name, role)| (name.to_owned(), stand(role))));
    story(&mut Model { log, now, leader: "a".to_owned() }).await;
}

struct Real {
    secrets: Secrets,
    servers: BTreeMap<String, Server>,
}

impl Real {
    async fn answer(&self, name: &str) -> ProbeAnswer {
        let server = self.secrets.of(&self.servers[name]);
        let quiet = ProbeKind::Postgres(Box::new(PostgresProbe { server, writes: false, only_primary: false }));
        Providers::new().probe(&quiet, LONG).await
    }

    fn server(&mut self, name: &str) -> &mut Server {
        self.servers.get_mut(name).expect("it is one of them")
    }

    fn leader(&self, name: &str, follower: &str) -> PostgresServer {
        let passfile = self.servers[follower].path("pgpass");
        let follow = Some(PostgresFollow { user: "replicator".to_owned(), passfile: Some(passfile) });
        PostgresServer { follow, ..self.secrets.of(&self.servers[name]) }
    }
}

impl Database for Real {
    async fn says(&mut self, name: &str) -> Option<(SeenRole, LogPosition)> {
        let said = self.answer(name).await;
        let role = match said.role.as_deref() {
            Some("primary") => SeenRole::Active,
            Some("standby") => SeenRole::Standby,
            Some(_) | None => SeenRole::Unclear,
        };
        said.position.filter(|_| said.answer == Answer::Good).map(|it| (role, it))
    }

    async fn write(&mut self, to: &str) {
        self.server(to).sql("INSERT INTO t VALUES (1)");
    }

    async fn settle(&mut self, leader: &str, followers: &[&str]) {
        let wanted = self.at(leader).await;
        for follower in followers {
            let begun = std::time::Instant::now();
            loop {
                let at = self.at(follower).await;
                if at.is_comparable(&wanted) && at.at >= wanted.at {
                    break;
                }
                assert!(begun.elapsed() < LONG, "{follower} is at {at:?}, and {leader} at {wanted:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn cut(&mut self, name: &str) {
        let server = self.server(name);
        server.sql("ALTER SYSTEM SET primary_conninfo = ''");
        server.sql("SELECT pg_reload_conf()");
        wait_until("its receiver to end", || server.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0");
    }

    async fn kill(&mut self, name: &str) {
        self.server(name).kill();
    }

    async fn start(&mut self, name: &str) {
        self.server(name).start();
    }

    async fn promote(&mut self, name: &str) {
        assert_eq!(promote(self.secrets.of(&self.servers[name]), LONG).await, Outcome::Done);
    }

    async fn follow(&mut self, name: &str, leader: &str) {
        let (follower, leader) = (self.secrets.of(&self.servers[name]), self.leader(leader, name));
        assert_eq!(follow(follower, leader, LONG).await, Outcome::Done);
    }

    async fn rejoin(&mut self, name: &str, leader: &str) {
        let server = &self.servers[name];
        let files = Some(services::files(server));
        let server = PostgresServer { files, ..self.secrets.of(server) };
        let how = RejoinHow { copy: FreshCopy::Never, old_data: OldData::Keep };
        let op = PostgresOp::Rejoin { leader: Box::new(self.leader(leader, name)), how };
        let outcome = act(PostgresAction { server, op }, LONG).await;
        assert!(matches!(outcome, Outcome::Done | Outcome::DoneLosing(_) | Outcome::Kept(_)), "{outcome:?}");
    }
}

struct Model {
    log: Log,
    now: Time,
    /// Whom standbys follow.
    leader: String,
}

impl Model {
    fn pass(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        self.log.pass(self.now, Some(&self.leader));
    }

    fn becomes(&mut self, name: &str, change: impl FnOnce(&mut Stand)) {
        let mut stand = self.log.stand(name).expect("it is one of them");
        change(&mut stand);
        self.log.stands(name, stand);
    }
}

impl Database for Model {
    async fn says(&mut self, name: &str) -> Option<(SeenRole, LogPosition)> {
        let stand = self.log.stand(name)?;
        self.log.position(name).map(|it| (stand.role, it))
    }

    async fn write(&mut self, _to: &str) {
        self.pass();
    }

    async fn settle(&mut self, _leader: &str, _followers: &[&str]) {
        self.log.pass(self.now, Some(&self.leader));
    }

    async fn cut(&mut self, name: &str) {
        self.becomes(name, |it| it.lag = Duration::MAX);
    }

    async fn kill(&mut self, name: &str) {
        self.becomes(name, |it| it.up = false);
    }

    async fn start(&mut self, name: &str) {
        self.becomes(name, |it| it.up = true);
    }

    async fn promote(&mut self, name: &str) {
        self.becomes(name, |it| it.role = SeenRole::Active);
    }

    async fn follow(&mut self, name: &str, leader: &str) {
        self.becomes(name, |it| it.lag = Duration::ZERO);
        leader.clone_into(&mut self.leader);
    }

    async fn rejoin(&mut self, name: &str, leader: &str) {
        self.log.becomes_copy(name, leader);
        leader.clone_into(&mut self.leader);
    }
}
