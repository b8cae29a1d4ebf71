//! Every row of the table of instruments, moved by visitors and read from `/metrics`.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tapline_host_core::{
    Compilation, HostConfig, PluginName, PluginSpec, Reuse, Stock,
    limits::PartialLimits,
    metrics::{INSTRUMENTS, Kind},
};
use tapline_server::ServerConfig;

use crate::{Site, formatted, item, spec, text};

/// The largest value that the samples of each row have had together, over all readings.
#[derive(Default)]
struct Seen(BTreeMap<&'static str, f64>);

impl Seen {
    async fn read(&mut self, site: &Site) {
        let text = site.get("/metrics").await.body;
        for row in INSTRUMENTS {
            let name = if row.kind == Kind::Histogram { format!("{}_count", row.name) } else { row.name.to_owned() };
            let samples = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(&name));
            let sum: f64 = samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
            let seen = self.0.entry(row.name).or_default();
            *seen = seen.max(sum);
        }
    }
}

#[tokio::test]
async fn every_instrument_is_moved_by_what_visitors_and_plugins_do() {
    let directory = tempfile::tempdir().unwrap();
    let cache_directory = Some(directory.path().join("cache"));
    let compilation = Compilation { max_component_bytes: 1 << 20, ..Compilation::default() };
    let config = HostConfig { pool_size: 4, cache_directory, compilation, ..HostConfig::default() };
    let site = Site::with(&["probe", "related"], ServerConfig::default(), config).await;
    let mut reused = spec("seo");
    reused.reuse = Some(Reuse::default());
    site.host.load(reused.clone()).await.unwrap();
    let mut stocked = spec("embargo");
    stocked.stock = Some(Stock { min: 1, max: 1 });
    site.host.load(stocked).await.unwrap();
    let metered = PartialLimits { enable_fuel_metering: Some(true), ..PartialLimits::default() };
    site.host.load(spec("reading-time").limits(metered)).await.unwrap();
    let large = PluginSpec::bytes(PluginName::new("large").unwrap(), vec![0; 2 << 20]);
    assert!(site.host.load(large).await.is_err());
    // Whoever writes the log of a program counts what he loses: here nobody does.
    site.host.metrics().share_log_lines_lost(Arc::new(AtomicU64::new(1)));
    // The program alone knows when it was started: `tapline serve` says it, see its test `start`.
    site.host.metrics().set_process_start(Duration::from_millis(9));
    let mut seen = Seen::default();

    // Saved, which the probe logs, and read twice, the second time with the instance of seo that waits.
    let tags = tapline_content::Value::References(
        [tapline_content::Reference { kind: "tag".into(), id: "t".into(), label: "t".into() }].into(),
    );
    site.save(item("a", "A", [("body", formatted("markdown", "Text")), ("tags", tags)])).await;
    for _ in 0..2 {
        assert_eq!(site.get("/item/a").await.status, 200);
    }
    seen.read(&site).await;
    // A view may not write.
    site.host.load(spec("probe-lazy")).await.unwrap();
    let write = Arc::new(item("write", "Write", [("do", text("write"))]));
    site.host.dispatch(tapline_content::ItemView, &write).await.unwrap();
    seen.read(&site).await;
    site.host.unload(&spec("probe-lazy").name).await.unwrap();
    // What guests do that have had too much.
    for command in ["print", "log", "allocate", "loop", "panic"] {
        site.put(item(command, "Bad", [("do", text(command))])).await;
    }
    for command in ["print", "log", "allocate"] {
        site.get(&format!("/item/{command}")).await;
    }
    // The plugin's share of the pool is taken: whoever needs it now waits.
    let loops = [(); 3].map(|()| site.asking("/item/loop", &[]));
    while site.host.pool_metrics().active_vms < 3 {
        tokio::task::yield_now().await;
    }
    let waiting = site.asking("/item/a", &[]);
    seen.read(&site).await;
    for answer in loops {
        answer.await.unwrap();
    }
    assert_eq!(waiting.await.unwrap().status, 200);
    // Its breaker opens.
    for _ in 0..5 {
        site.get("/item/panic").await;
    }
    // Loaded anew, it is found compiled; and after a rest, on disk.
    assert!(site.host.unload(&reused.name).await.unwrap());
    site.host.load(reused).await.unwrap();
    let resting = async {
        while site.host.plugins().iter().any(|plugin| plugin.has_code()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = resting => {}
        never = site.host.rest_when_idle(Duration::from_millis(1)) => match never {},
    }
    // The probe has failed too often to be asked whether somebody may see it: others are.
    assert_eq!(site.get("/item/a").await.status, 403);
    seen.read(&site).await;

    let unmoved: Vec<_> = seen.0.iter().filter(|(_, value)| **value <= 0.0).map(|(name, _)| name).collect();
    assert!(unmoved.is_empty(), "nothing moves {unmoved:?}");
}

#[tokio::test]
async fn no_address_of_a_visitor_becomes_a_label() {
    let site = Site::new(&[]).await;
    for path in ["/item/one", "/item/two", "/nowhere/1", "/nowhere/2"] {
        assert_eq!(site.get(path).await.status, 404);
    }
    let text = site.get("/metrics").await.body;
    let sample = |route: &str| {
        format!("http_requests_total{{surface=\"server\",impl=\"wasm\",service=\"tapline\",route=\"{route}\"}} 2")
    };
    for route in ["/item/{id}", "other"] {
        assert!(text.contains(&sample(route)), "{text}");
    }
    assert!(!text.contains("nowhere") && !text.contains("/item/one"));
}

#[tokio::test]
async fn metrics_can_be_switched_off() {
    let config = HostConfig { pool_size: 10, enable_metrics: false, ..HostConfig::default() };
    let site = Site::with(&["seo"], ServerConfig::default(), config).await;
    site.save(item("a", "A", [])).await;
    let page = site.get("/item/a").await;
    assert_eq!(page.status, 200);
    crate::has(page.header("server-timing"), "seo.item_view;dur=");
    assert_eq!(site.get("/metrics").await.body, "");
    let status: serde_json::Value = serde_json::from_str(&site.get("/status").await.body).unwrap();
    assert!(status["runtime"].is_null() && status["pool"]["waits"].is_null());
    crate::has(&site.get("/_tapline").await.body, "Nothing is counted");
}
