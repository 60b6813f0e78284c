//! What drives the blackbox exporter: as Prometheus would, over connections that stay, as many questions at a time as
//! there are connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How many questions are under way at most.
const AT_ONCE: u64 = 64;

/// The loop; it ends with this value.
pub(crate) struct Driver {
    ends: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Driver {
    /// Asks the exporter at `exporter` for each of `targets` in each `interval`, or as fast as it goes.
    pub(crate) fn start(
        exporter: SocketAddr,
        module: &'static str,
        targets: Vec<String>,
        interval: Duration,
    ) -> Driver {
        let (ends, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (until, counted) = (ends.clone(), answered.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            let targets: Arc<[String]> = targets.into();
            runtime.block_on(async {
                let begin = Instant::now();
                let all: Vec<_> = (0..AT_ONCE)
                    .map(|first| {
                        let (until, counted, targets) = (until.clone(), counted.clone(), targets.clone());
                        tokio::spawn(async move {
                            let mut line = BufReader::new(TcpStream::connect(exporter).await?);
                            let pace = interval / u32::try_from(targets.len()).unwrap_or(u32::MAX);
                            let mut nth = first;
                            while !until.load(Ordering::Relaxed) {
                                let due = begin + Duration::from_nanos(pace.as_nanos() as u64 * nth);
                                // A timer for each question would wake this thread too often to keep up.
                                if due > Instant::now() + Duration::from_millis(1) {
                                    tokio::time::sleep_until(due).await;
                                }
                                let target = &targets[(nth % targets.len() as u64) as usize];
                                if ask(&mut line, module, target).await? {
                                    counted.fetch_add(1, Ordering::Relaxed);
                                }
                                nth += AT_ONCE;
                            }
                            std::io::Result::Ok(())
                        })
                    })
                    .collect();
                for one in all {
                    let _ = one.await;
                }
            });
        });
        Driver { ends, answered, thread: Some(thread) }
    }

    /// How many probes were good.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// Whether the probe of `target` is good.
async fn ask(line: &mut BufReader<TcpStream>, module: &str, target: &str) -> std::io::Result<bool> {
    let request = format!("GET /probe?module={module}&target={target} HTTP/1.1\r\nHost: exporter\r\n\r\n");
    line.get_mut().write_all(request.as_bytes()).await?;
    let (mut text, mut length) = (String::new(), None);
    loop {
        text.clear();
        if line.read_line(&mut text).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let header = text.trim().to_ascii_lowercase();
        if let Some(it) = header.strip_prefix("content-length:") {
            length = it.trim().parse::<usize>().ok();
        }
        if header.is_empty() {
            break;
        }
    }
    let mut body = Vec::new();
    match length {
        Some(length) => {
            body.resize(length, 0);
            line.read_exact(&mut body).await?;
        }
        None => loop {
            text.clear();
            line.read_line(&mut text).await?;
            let chunk = usize::from_str_radix(text.trim(), 16).map_err(std::io::Error::other)?;
            let begin = body.len();
            body.resize(begin + chunk + 2, 0);
            line.read_exact(&mut body[begin..]).await?;
            if chunk == 0 {
                break;
            }
        },
    }
    Ok(body.windows(15).any(|it| it == b"probe_success 1"))
}
