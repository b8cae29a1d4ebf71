//! Opening a database, and not being able to.

use std::{error::Error, fs};

use tapline_host_core::Party;
use tapline_host_database::{Database, DatabaseConfig, DatabaseError};

use crate::{config, url};

#[tokio::test]
async fn a_missing_file_is_named_and_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("site.db");
    for address in [url(&directory), format!("{}?mode=rwc", url(&directory))] {
        let error = Database::connect(&address, config()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("there is no database at {}", file.display()));
        assert_eq!(error.party(), Party::Operator);
        assert!(error.hint().is_some());
        assert!(!file.exists());
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("site.db");
    fs::write(&file, "# A document, and no database.\n".repeat(100)).unwrap();
    let error = Database::connect(&url(&directory), config()).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Open { path, .. } if *path == file), "{error:?}");
    assert_eq!(error.source().unwrap().to_string(), "error returned from database: (code: 26) file is not a database");
}

#[tokio::test]
async fn other_databases_are_refused_without_their_password() {
    for (address, scheme) in [("postgres://tapline:secret@db/site", "postgres"), ("site.db", "site.db")] {
        let error = Database::connect(address, config()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("a database address that starts with `{scheme}` is not supported"));
        assert!(!format!("{error:?}").contains("secret"));
    }
}

#[tokio::test]
async fn a_database_in_memory_is_refused() {
    for address in ["sqlite::memory:", "sqlite:file:x?mode=memory"] {
        let error = Database::connect(address, config()).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Missing { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn no_connections_are_no_database() {
    let config = DatabaseConfig { max_connections: 0, ..config() };
    let error = Database::connect("sqlite:x.db", config).await.unwrap_err();
    assert_eq!(error.to_string(), "the setting `max_connections` is refused: a query needs one");
}
