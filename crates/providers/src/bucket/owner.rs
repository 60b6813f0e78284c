//! Whose a place in a bucket is: one series', by what tells that apart from every other, and by its server.
//!
//! Without it two series of one server would take each other's backups for their own, and remove them by their own rules.

use std::fmt;

use mainstay_backups::{Folder, FolderError, is_series};

use super::BucketError;
use super::copy::blocking;
use super::store::Store;
use crate::Inner;
use crate::postgres::io_error;

const OWNER: &str = "owner";

/// A series, and the system identifier of its server, if that was known. Written as both in one line.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Owner {
    series: String,
    system: Option<u64>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.series)?;
        self.system.map_or(Ok(()), |it| write!(f, " {it}"))
    }
}

impl Owner {
    fn read(text: &str) -> Option<Owner> {
        let mut words = text.split_whitespace();
        let series = words.next().filter(|it| is_series(it))?.to_owned();
        let system = words.next().map(str::parse).transpose().ok()?;
        words.next().is_none().then_some(Owner { series, system })
    }

    /// Whether a folder that says this of itself may be this one's; what it does not say can be anything.
    fn may_be(&self, series: Option<&String>, system: Option<u64>) -> bool {
        series.is_none_or(|it| *it == self.series)
            && (system.is_none() || self.system.is_none() || system == self.system)
    }
}

/// The series that has the place; `None`: none has.
pub(super) async fn of(store: &Store<'_>) -> Result<Option<Owner>, BucketError> {
    let Some(text) = store.get_text(OWNER).await? else { return Ok(None) };
    let none = || {
        let why = format!(
            "{}: {OWNER} in it names no series: something else is kept there; take another place",
            store.name()
        );
        BucketError::Refused(why)
    };
    Owner::read(&text).map(Some).ok_or_else(none)
}

/// What a folder says of itself.
async fn known(inner: &Inner, folder: &Folder) -> Result<(Option<String>, Option<u64>), String> {
    let both = |it: &Folder| Ok::<_, FolderError>((it.known_series()?, it.system()?));
    blocking(inner, folder, move |it| both(it).map_err(io_error)).await
}

/// Makes sure that the place is that of the folder's series: the first one gets it.
pub(super) async fn claim(inner: &Inner, store: &Store<'_>, folder: &Folder) -> Result<(), BucketError> {
    let (mut series, system) = known(inner, folder).await?;
    let has = match of(store).await? {
        Some(has) => Some(has),
        None => {
            let ours = blocking(inner, folder, |it| it.series().map_err(io_error)).await?;
            let owner = Owner { series: ours.clone(), system };
            series = Some(ours);
            store.put_bytes(OWNER, format!("{owner}\n").as_bytes()).await?;
            of(store).await?
        }
    };
    match has {
        Some(has) if series.is_some() && has.may_be(series.as_ref(), system) => Ok(()),
        Some(has) => {
            let ours = series.unwrap_or_else(|| "new".to_owned());
            let (place, folder) = (store.name(), folder.path().display());
            Err(BucketError::Refused(format!(
                "{place} is the place of another series ({}), and {folder} is {ours}: if it is that series' folder that was lost, \
                 `mainstay postgres bring-back` makes it that again; else take another place",
                has.series
            )))
        }
        None => Err(BucketError::Failed(format!("{}: {OWNER} was removed meanwhile", store.name()))),
    }
}

/// Makes the folder that of the series whose place it is, unless it is another one's, or may be.
pub(super) async fn adopt(inner: &Inner, store: &Store<'_>, folder: &Folder, has: Owner) -> Result<(), BucketError> {
    look(inner, store, folder, &has).await?;
    let series = has.series.clone();
    let series = blocking(inner, folder, move |it| it.adopt(&series).map_err(io_error)).await?;
    if series == has.series { Ok(()) } else { Err(is_another(store, folder, &has)) }
}

/// Whether what is there can be the folder's.
pub(super) async fn look(inner: &Inner, store: &Store<'_>, folder: &Folder, has: &Owner) -> Result<(), BucketError> {
    let (series, system) = known(inner, folder).await?;
    if has.may_be(series.as_ref(), system) { Ok(()) } else { Err(is_another(store, folder, has)) }
}

fn is_another(store: &Store<'_>, folder: &Folder, has: &Owner) -> BucketError {
    let (place, folder) = (store.name(), folder.path().display());
    BucketError::Refused(format!(
        "{place} is of the series {has}, and {folder} of another one or of another server: take an empty folder"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_as_it_is_written() {
        for text in ["0123456789abcdef", "0123456789abcdef 7301234567890123456"] {
            assert_eq!(Owner::read(text).map(|it| it.to_string()).as_deref(), Some(text));
        }
        for none in ["", "4711", "0123456789abcdef x", "0123456789abcdef 1 2", "0123456789ABCDEF"] {
            assert!(Owner::read(none).is_none(), "{none}");
        }
    }

    #[test]
    fn what_is_not_said_can_be_anything_and_what_is_must_fit() {
        let (series, other) = ("0123456789abcdef".to_owned(), "fedcba9876543210".to_owned());
        let owner = Owner { series: series.clone(), system: Some(7) };
        assert!(owner.may_be(None, None) && owner.may_be(Some(&series), None) && owner.may_be(None, Some(7)));
        assert!(
            !owner.may_be(Some(&other), None) && !owner.may_be(Some(&series), Some(8)) && !owner.may_be(None, Some(8))
        );
    }
}
