//! The file that says where a bucket is, and with which keys it is used.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusty_s3::{Bucket, Credentials, UrlStyle};
use serde::Deserialize;

use crate::trouble;

/// What the file holds, in YAML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    bucket: String,
    #[serde(default)]
    prefix: String,
    region: Option<String>,
    endpoint: Option<String>,
    path_style: Option<bool>,
    access_key: Option<String>,
    secret_key: Option<String>,
    ca_file: Option<PathBuf>,
}

/// A bucket, and the place in it that a series has for itself.
pub(super) struct BucketFile {
    pub(super) bucket: Bucket,
    /// What all its keys begin with: empty, or ending with `/`.
    pub(super) prefix: String,
    /// The keys that the file holds; `None`: they are those of the environment, or of the machine's role.
    pub(super) credentials: Option<Credentials>,
    pub(super) ca_file: Option<PathBuf>,
}

impl BucketFile {
    /// Reads it. Blocks.
    pub(super) fn read(path: &Path) -> io::Result<BucketFile> {
        let of = |why: &dyn std::fmt::Display| io::Error::other(format!("{}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| of(&trouble::describe(&error)))?;
        let read: Text = serde_saphyr::from_str(&text).map_err(|error| of(&first_line(&error.to_string())))?;
        let mode = fs::metadata(path)?.permissions().mode();
        if read.secret_key.is_some() && mode & 0o007 != 0 {
            let why = format!("it holds a key, and everybody may use it: chmod {:o} it", mode & 0o770);
            return Err(of(&why));
        }
        let mut file = BucketFile::of(read).map_err(|why| of(&why))?;
        file.ca_file = file.ca_file.map(|it| path.with_file_name(it));
        Ok(file)
    }

    fn of(text: Text) -> Result<BucketFile, String> {
        let Text { bucket: name, prefix, region, endpoint, path_style, access_key, secret_key, ca_file } = text;
        if name.is_empty() {
            return Err("`bucket` names none".to_owned());
        }
        let region = match (region, &endpoint) {
            (Some(region), _) => region,
            (None, Some(_)) => "us-east-1".to_owned(),
            (None, None) => return Err("say in which `region` the bucket is, or at which `endpoint`".to_owned()),
        };
        // A name with a dot matches no certificate.
        let path_style = path_style.unwrap_or(endpoint.is_some() || name.contains('.'));
        let style = if path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let endpoint = endpoint.parse().map_err(|error| format!("`endpoint`: {error}"))?;
        let bucket = Bucket::new(endpoint, style, name, region).map_err(|error| format!("`endpoint`: {error}"))?;
        if !matches!(bucket.base_url().scheme(), "http" | "https") {
            return Err("`endpoint` must begin with https:// or http://".to_owned());
        }
        let prefix = prefix.trim_matches('/');
        if prefix.split('/').any(|it| matches!(it, "." | "..")) {
            return Err("`prefix` can't hold `.` or `..`".to_owned());
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let credentials = match (access_key, secret_key) {
            (Some(key), Some(secret)) => Some(Credentials::new(key, secret)),
            (None, None) => None,
            _ => return Err("`access_key` and `secret_key` go together".to_owned()),
        };
        Ok(BucketFile { bucket, prefix, credentials, ca_file })
    }
}

/// What is wrong, without the text around it: that may hold a key.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, mode: u32) -> Result<BucketFile, String> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("bucket.yaml");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        BucketFile::read(&path).map_err(|it| it.to_string())
    }

    #[test]
    fn a_bucket_is_where_it_says() {
        let at = |text: &str| {
            let file = read(text, 0o644).expect("a bucket");
            (file.bucket.base_url().to_string(), file.prefix)
        };
        let aws = at("bucket: orders\nregion: eu-central-1\nprefix: /prod/orders/\n");
        assert_eq!(aws, ("https://orders.s3.eu-central-1.amazonaws.com/".to_owned(), "prod/orders/".to_owned()));
        let dotted = at("bucket: orders.shop\nregion: eu-central-1\n");
        assert_eq!(dotted.0, "https://s3.eu-central-1.amazonaws.com/orders.shop/");
        assert_eq!(at("bucket: orders\nendpoint: http://10.0.0.9:9000\n").0, "http://10.0.0.9:9000/orders/");
    }

    #[test]
    fn what_is_wrong_is_said_and_no_key_is() {
        for (text, mode, says) in [
            ("region: eu-central-1\n", 0o600, "bucket"),
            ("bucket: orders\n", 0o600, "region"),
            ("bucket: orders\nregion: x\naccess_key: K\n", 0o600, "go together"),
            ("bucket: orders\nendpoint: ftp://x\n", 0o600, "endpoint"),
            ("bucket: orders\nregion: x\nprefix: a/../b\n", 0o600, "prefix"),
            ("bucket: orders\nregion: x\nacces_key: K\nsecret_key: S3CR3T\n", 0o600, "acces_key"),
            ("bucket: orders\nregion: x\naccess_key: K\nsecret_key: S3CR3T\n", 0o644, "chmod 640"),
        ] {
            let why = read(text, mode).err().expect("it is wrong");
            assert!(why.contains(says) && why.contains("bucket.yaml") && !why.contains("S3CR3T"), "{why}");
        }
    }
}
