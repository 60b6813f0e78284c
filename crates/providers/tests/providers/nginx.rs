//! A real nginx, killed with its value.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::KeyPair;

use crate::fixtures::*;

pub(crate) struct Nginx {
    process: Child,
    directory: tempfile::TempDir,
    /// Plain HTTP/1.1.
    pub(crate) plain: SocketAddr,
    /// HTTPS for `shop.example`, in both versions.
    pub(crate) secured: SocketAddr,
    /// HTTP/2 without TLS, for those who know.
    pub(crate) known: SocketAddr,
}

/// What it serves at each of its addresses.
const LOCATIONS: &str = r#"
    location = /ready { default_type application/json; add_header X-Role Primary; return 200 '{"status":"ready"}'; }
    location = /old { return 302 /ready; }
    location = /twice { return 301 old; }
    location = /loop { return 307 /loop; }
    location = /to-tls { return 308 https://shop.example:SECURED/ready; }
    location = /away { return 302 http://127.0.0.2:PLAIN/open; }
    location = /open { if ($http_authorization) { return 400; } if ($http_x_key) { return 400; } return 200 open; }
    location = /posted { if ($request_method != POST) { return 405; } if ($http_x_key != k) { return 403; } return 200 posted; }
    location = /see-other { if ($request_method = POST) { return 303 /got; } return 405; }
    location = /got { if ($request_method != GET) { return 405; } return 200 got; }
    location = /version { return 200 $server_protocol; }
    location = /nth { return 200 "request $connection_requests of its connection"; }
    location = /token { if ($http_authorization != "Bearer s3cret") { return 401; } return 200 "come in"; }
    location = /basic/file { auth_basic "x"; auth_basic_user_file users; }
"#;

impl Nginx {
    pub(crate) async fn start() -> Nginx {
        loop {
            if let Some(nginx) = Nginx::at_ports([free_port(), free_port(), free_port()]).await {
                return nginx;
            }
        }
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).expect("the file is written");
        path
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    /// `None`: somebody else took one of the ports meanwhile.
    async fn at_ports(ports: [u16; 3]) -> Option<Nginx> {
        let [plain, secured, known] = ports;
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, content: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
            std::fs::write(path, content).expect("the file is written");
        };
        let key = KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["shop.example".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        write("cert.pem", &certificate.pem());
        write("key.pem", &key.serialize_pem());
        write("users", "monitor:{PLAIN}open sesame\n");
        write("basic/file", "for users");
        let here = directory.path().display();
        let locations = LOCATIONS.replace("SECURED", &secured.to_string()).replace("PLAIN", &plain.to_string());
        let tls = format!("ssl_certificate {here}/cert.pem; ssl_certificate_key {here}/key.pem;");
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|it| format!("{it}_temp_path {here}/{it};"))
            .concat();
        let text = format!(
            "daemon off; master_process off; pid {here}/pid; error_log stderr; events {{ }} http {{ access_log off; {temporary} root {here};
               server {{ listen 127.0.0.1:{plain}; listen 127.0.0.2:{plain}; {locations} }}
               server {{ listen 127.0.0.1:{secured} ssl http2; {tls} {locations} }}
               server {{ listen 127.0.0.1:{known} http2; {locations} }} }}",
        );
        write("nginx.conf", &text);
        let process = Command::new("nginx")
            .arg("-c")
            .arg(directory.path().join("nginx.conf"))
            .arg("-p")
            .arg(directory.path())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let mut nginx = Nginx { process, directory, plain: at(plain), secured: at(secured), known: at(known) };
        let mut ended = false;
        until(|| {
            ended = nginx.process.try_wait().expect("our child").is_some();
            ended || ports.into_iter().all(|it| TcpStream::connect(at(it)).is_ok())
        })
        .await;
        (!ended).then_some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind(ANY_PORT).expect("a free port");
    listener.local_addr().expect("its address").port()
}
