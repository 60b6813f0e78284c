//! Whose a place in a bucket is: one series', by what tells that apart from every other.
//!
//! Without it two series of one server would take each other's backups for their own, and remove them by their own rules.

use mainstay_backups::{Folder, is_series};

use super::BucketError;
use super::copy::blocking;
use super::store::Store;
use crate::Inner;
use crate::postgres::io_error;

const OWNER: &str = "owner";

/// The series that has the place; `None`: none has.
pub(super) async fn of(store: &Store<'_>) -> Result<Option<String>, String> {
    let Some(text) = store.get_text(OWNER).await? else { return Ok(None) };
    match text.trim() {
        series if is_series(series) => Ok(Some(series.to_owned())),
        _ => Err(format!("{}: {OWNER} in it names no series: something else is kept there", store.name())),
    }
}

/// Makes sure that the place is that of the folder's series: the first one gets it.
pub(super) async fn claim(inner: &Inner, store: &Store<'_>, folder: &Folder) -> Result<(), BucketError> {
    let series = blocking(inner, folder, |it| it.series().map_err(io_error)).await?;
    let has = match of(store).await? {
        Some(has) => has,
        None => {
            store.put_bytes(OWNER, format!("{series}\n").as_bytes()).await?;
            of(store).await?.unwrap_or_default()
        }
    };
    if has == series {
        return Ok(());
    }
    Err(BucketError::Refused(format!(
        "{} is the place of another series ({has}), and {} is of {series}: bring it back, if it is what was lost, else take another place",
        store.name(),
        folder.path().display()
    )))
}

/// Makes the folder that of the series whose place it is, unless it is another one's.
pub(super) async fn adopt(inner: &Inner, store: &Store<'_>, folder: &Folder) -> Result<(), BucketError> {
    let Some(has) = of(store).await? else {
        return Err(BucketError::Failed(format!("{}: nothing was copied to it", store.name())));
    };
    let adopted = has.clone();
    let series = blocking(inner, folder, move |it| it.adopt(&adopted).map_err(io_error)).await?;
    if series == has {
        return Ok(());
    }
    let folder = folder.path().display();
    let why = format!("{folder} is of the series {series}, and {} is of {has}: take an empty folder", store.name());
    Err(BucketError::Refused(why))
}
