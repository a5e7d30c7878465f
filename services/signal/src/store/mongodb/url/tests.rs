use super::*;

fn error_of(text: &str) -> String {
    MongoUrl::parse(text).expect_err(text)
}

#[test]
fn credentials_and_options_are_not_displayed() {
    let url = "mongodb://ada:hunter2@a.example,b.example:27018/rooms?appName=hunter2";
    let url = MongoUrl::parse(url).expect("a valid URL");
    assert_eq!(url.to_string(), "mongodb://a.example:27017,b.example:27018/rooms");
    assert_eq!(format!("{url:?}"), url.to_string());
    let url = MongoUrl::parse("mongodb+srv://ada:hunter2@cluster.example.org/").expect("a valid URL");
    assert_eq!(url.to_string(), "mongodb+srv://cluster.example.org/signalbox");
}

#[test]
fn errors_contain_no_credentials() {
    for invalid in [
        "mongodb:ada:hunter2@a.example",
        "mongodb://ada:hun:ter2@a.example",
        "mongodb://ada:x/hunter2@a.example",
        "mongodb://ada:x?hunter2@a.example",
        "mongodb://ada:hunter2@a.example:port",
        "mongodb://ada:hunter2@a.example/?w=1",
        "mongodb://ada:hunter2@a.example/?maxPoolSize=hunter2",
        "mongodb://a.example/?tlsCertificateKeyFilePassword=hunter2&maxPoolSize=many",
    ] {
        let error = error_of(invalid);
        assert!(!error.contains("ter2"), "{invalid}: {error}");
    }
}

#[test]
fn errors_name_the_unsupported_option() {
    for (invalid, named) in [
        ("mongodb://a.example/?w=1", "w=majority"),
        ("mongodb://a.example/?journal=false", "journal"),
        ("mongodb://a.example/?readPreference=secondary", "readPreference"),
        ("mongodb://a.example/?socketTimeoutMS=5", "socketTimeoutMS"),
        ("mongodb://a.example/?maxPoolSize=many", "maxpoolsize"),
        ("mongodb://a.example/a.b", "database name"),
        ("mongodb+srv://a.example.org:27017/", "port"),
        ("mongodb://", "host"),
    ] {
        let error = error_of(invalid);
        assert!(error.contains(named), "{invalid}: {error}");
    }
    for valid in ["mongodb://a.example/?retryWrites=true&w=majority", "mongodb+srv://u:p@cluster.example.org"] {
        MongoUrl::parse(valid).expect(valid);
    }
}

#[tokio::test]
async fn pool_sizes_and_timeouts_in_the_url_apply() {
    let options = MongoUrl::parse("mongodb://a.example").expect("a valid URL").options().await.expect("options");
    assert_eq!((options.max_pool_size, options.min_pool_size), (Some(32), Some(4)));
    assert_eq!(options.write_concern, Some(write_concern()));
    let url = "mongodb://a.example/?maxPoolSize=2&serverSelectionTimeoutMS=100&readPreference=primary";
    let options = MongoUrl::parse(url).expect("a valid URL").options().await.expect("options");
    assert_eq!((options.max_pool_size, options.min_pool_size), (Some(2), Some(2)));
    assert_eq!(options.server_selection_timeout, Some(Duration::from_millis(100)));
}
