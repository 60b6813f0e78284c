//! What the tests and benches use beside Rust: a few system programs, and cargo-deny, moto and SimPy in the cache folder.
//!
//! System packages are a convenience: where they can't be installed, this says what is missing and goes on, and the
//! tests that need a program say so themselves. cargo-deny is a step of its own, so it has to be there.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cargo;

/// Pinned, because a newer one may find new faults in a tree that nobody changed.
const CARGO_DENY: &str = "0.20.2";

/// The server of which tests start as many as they want.
const POSTGRESQL: &str = "postgresql-15";

/// A program that end-to-end tests run, and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 14] = [
    ("haproxy", "haproxy"),
    ("dig", "bind9-dnsutils"),
    ("delv", "bind9-dnsutils"),
    ("kdig", "knot-dnsutils"),
    ("named-checkzone", "bind9-utils"),
    ("dnsperf", "dnsperf"),
    ("knotd", "knot"),
    ("ip", "iproute2"),
    ("curl", "curl"),
    ("tmux", "tmux"),
    ("python3", "python3"),
    ("faketime", "faketime"),
    ("/usr/lib/python3.11/ensurepip/__init__.py", "python3.11-venv"),
    ("/usr/lib/postgresql/15/bin/initdb", POSTGRESQL),
];

/// Peers and load of benches: the bench, a file that is there once it is installed, and the Debian package that brings it.
const BENCH_PROGRAMS: [(&str, &str, &str); 20] = [
    ("dns", "dnsperf", "dnsperf"),
    ("dns", "knotd", "knot"),
    ("dns", "nsd", "nsd"),
    ("failover", "haproxy", "haproxy"),
    ("failover", "keepalived", "keepalived"),
    ("failover", "ip", "iproute2"),
    ("failover", "curl", "curl"),
    ("failover_postgres", "/usr/lib/postgresql/15/bin/initdb", POSTGRESQL),
    ("failover_postgres", "etcd", "etcd-server"),
    ("failover_postgres", "haproxy", "haproxy"),
    ("failover_postgres", "ip", "iproute2"),
    ("failover_postgres", "curl", "curl"),
    ("failover_postgres", "setpriv", "util-linux"),
    ("probes", "haproxy", "haproxy"),
    ("probes", "prometheus-blackbox-exporter", "prometheus-blackbox-exporter"),
    ("probes", "taskset", "util-linux"),
    ("proxy", "haproxy", "haproxy"),
    ("proxy", "nginx", "nginx-light"),
    ("proxy", "/usr/lib/nginx/modules/ngx_stream_module.so", "libnginx-mod-stream"),
    ("proxy", "wrk", "wrk"),
];

/// Where tools and continuous integration's build output live: never in the checkout, so that a fresh one finds them.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("MAINSTAY_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("mainstay")))
        .or_else(|| Some(set("HOME")?.join(".cache/mainstay")))
        .context("no cache folder: set MAINSTAY_CACHE, XDG_CACHE_HOME or HOME")
}

/// Where [`install_cargo_deny`] puts cargo-deny.
pub(crate) fn cargo_deny(cache: &Path) -> PathBuf {
    cache.join("tools/bin/cargo-deny")
}

/// Installs the programs of the tests that are missing, and returns a line about each that still is.
pub(crate) fn install_programs() -> Vec<String> {
    install(&PROGRAMS, "tests")
}

/// Debian starts a server with the package, on the usual port, unless it is told not to. A machine that has one keeps it.
fn let_no_database_start() {
    let folder = Path::new("/etc/postgresql-common/createcluster.d");
    if is_root() && !Path::new("/etc/postgresql").exists() && std::fs::create_dir_all(folder).is_ok() {
        let _another_server = std::fs::write(folder.join("mainstay.conf"), "create_main_cluster = false\n");
    }
}

/// The same for what a bench runs.
pub(crate) fn install_for_bench(name: &str) -> Vec<String> {
    let own: Vec<_> = BENCH_PROGRAMS.iter().filter(|it| it.0 == name).map(|it| (it.1, it.2)).collect();
    install(&own, "benches")
}

fn install(programs: &[(&str, &str)], who: &str) -> Vec<String> {
    let packages: Vec<&str> = missing(programs).map(|(_, package)| package).collect();
    if packages.is_empty() {
        return Vec::new();
    }
    println!("installing {}", packages.join(", "));
    let why_not = match (is_root(), find_program("apt-get")) {
        (_, None) => "there is no apt-get here",
        (false, Some(_)) => "only root can install it",
        (true, Some(_)) => {
            if packages.contains(&POSTGRESQL) {
                let_no_database_start();
            }
            // The package lists may be missing or old; fetching them costs more than a try.
            if !apt_install(&packages) && apt_get(&["update"]) {
                apt_install(&packages);
            }
            "apt-get could not install it"
        }
    };
    missing(programs)
        .map(|(program, package)| {
            format!("missing: {program} (package {package}; {why_not}); {who} that need it can't run")
        })
        .collect()
}

/// Builds cargo-deny into the cache folder unless the pinned version is there.
pub(crate) fn install_cargo_deny(cache: &Path) -> Result<()> {
    if installed_version(&cargo_deny(cache)).as_deref() == Some(CARGO_DENY) {
        return Ok(());
    }
    println!("installing cargo-deny {CARGO_DENY}; this takes some minutes, once");
    let status = Command::new(cargo())
        .args(["install", "cargo-deny", "--version", CARGO_DENY, "--locked", "--force", "--root"])
        .arg(cache.join("tools"))
        // Its build output is of no use to ours.
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .context("can't start cargo to install cargo-deny")?;
    ensure!(
        status.success(),
        "cargo-deny {CARGO_DENY} could not be installed; repeat with: cargo install cargo-deny --version {CARGO_DENY} \
         --locked --root {}",
        cache.join("tools").display()
    );
    Ok(())
}

/// A package of Python's that is a peer of a bench, in a folder of its own.
pub(crate) struct Peer {
    /// As it is called.
    name: &'static str,
    /// The folder, and what is imported.
    module: &'static str,
    version: &'static str,
    /// What is installed, without the version of the first.
    packages: &'static [&'static str],
}

/// The peer of the simulator's bench.
pub(crate) const SIMPY: Peer = Peer { name: "SimPy", module: "simpy", version: "4.1.2", packages: &["simpy"] };

/// Plays S3 in tests.
pub(crate) const MOTO: Peer = Peer { name: "moto", module: "moto", version: "5.2.5", packages: &["moto[s3,server]"] };

/// The peer of the bench of PostgreSQL's failover.
pub(crate) const PATRONI: Peer =
    Peer { name: "Patroni", module: "patroni", version: "4.1.5", packages: &["patroni[etcd3]", "psycopg[binary]"] };

/// Installs it if it is missing, and returns the Python that has it.
pub(crate) fn install_peer(cache: &Path, peer: &Peer) -> Option<PathBuf> {
    let Peer { name, module, version, packages } = peer;
    let folder = cache.join("tools").join(module);
    let python = folder.join("bin/python");
    let is_there = || {
        let asks = format!("from importlib.metadata import version; print(version('{module}'))");
        let asked = Command::new(&python).args(["-c", &asks]).output();
        asked.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).trim() == *version)
    };
    if !is_there() {
        println!("installing {name} {version}");
        let succeeds = |it: &mut Command| it.stdin(Stdio::null()).status().is_ok_and(|status| status.success());
        // The system's own where there is one: another may lie where only its owner can read.
        let system = Path::new("/usr/bin/python3");
        let venv = |python3: &Path| succeeds(Command::new(python3).args(["-m", "venv", "--clear"]).arg(&folder));
        let made = (system.is_file() && venv(system)) || venv(Path::new("python3"));
        let pinned = packages.iter().enumerate().map(|(nth, it)| match nth {
            0 => format!("{it}=={version}"),
            _ => (*it).to_owned(),
        });
        if !made || !succeeds(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(pinned)) {
            println!(
                "{name} {version} could not be installed into {}: it needs python3 with venv and pip",
                folder.display()
            );
        }
    }
    is_there().then_some(python)
}

fn installed_version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_whitespace().nth(1)?.to_owned())
}

fn missing<'a>(programs: &[(&'a str, &'a str)]) -> impl Iterator<Item = (&'a str, &'a str)> {
    programs.iter().copied().filter(|(program, _)| find_program(program).is_none())
}

/// Servers and network tools live in `sbin`, which is often not on the path of a user who isn't root.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn apt_install(packages: &[&str]) -> bool {
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(packages);
    apt_get(&args)
}

fn apt_get(args: &[&str]) -> bool {
    Command::new("apt-get")
        .args(["-qq", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
