//! Metrics for operators, as OpenMetrics text. Each scrape collects the room counters, so a signal increments only
//! plain integers of its room.
//!
//! No label contains a room, member or address, because these are private and of unbounded cardinality.

use std::{
    fmt::{self, Debug, Formatter},
    sync::Arc,
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
    },
    registry::{Registry, Unit},
};
use signalbox_core::count::{Counts, SIGNAL_KINDS, UNDELIVERED_REASONS};
use signalbox_proto::v1::LeaveReason;

use crate::{
    error::Error,
    limits::Memory,
    rooms::{RoomStats, Rooms},
};

/// The content type that the OpenMetrics specification requires.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A label's name and value.
type Label = [(&'static str, &'static str); 1];

/// Counts rejected joins and resumes.
#[derive(Debug, Default)]
pub struct Rejections {
    joins: Family<Label, Counter>,
    resumes: Family<Label, Counter>,
}

impl Rejections {
    /// Counts a rejected join under its error reason.
    pub fn add_join(&self, error: &Error) {
        self.joins.get_or_create(&[("reason", error.reason())]).inc();
    }

    /// Counts a rejected resume under its error reason.
    pub fn add_resume(&self, error: &Error) {
        self.resumes.get_or_create(&[("reason", error.reason())]).inc();
    }
}

/// Serves `GET /metrics`.
pub fn router(rooms: Arc<Rooms>, memory: Arc<Memory>, rejections: &Rejections) -> Router {
    let mut registry = Registry::with_prefix("signalbox");
    let Rejections { joins, resumes } = rejections;
    registry.register("joins_refused", "Rejected joins, by error reason", joins.clone());
    registry.register("resumes_refused", "Rejected resumes, by error reason", resumes.clone());
    registry.register_collector(Box::new(RoomCollector { rooms, memory }));
    Router::new().route("/metrics", get(scrape)).with_state(Arc::new(registry))
}

async fn scrape(State(registry): State<Arc<Registry>>) -> Response {
    let mut text = String::new();
    if text::encode(&mut text, &registry).is_err() {
        // Unreachable, since writing to a `String` cannot fail.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

/// Collects the counters of rooms and the memory of the process.
struct RoomCollector {
    rooms: Arc<Rooms>,
    memory: Arc<Memory>,
}

impl Debug for RoomCollector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("RoomCollector")
    }
}

impl Collector for RoomCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let RoomStats { rooms, connected, suspended, streams, counts } = self.rooms.stats();
        let mut gauge = |name, help, unit: Option<&Unit>, value: u64| {
            let value = ConstGauge::new(value);
            value.encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
        };
        gauge("rooms", "Live rooms", None, rooms as u64)?;
        gauge("streams", "Streams attached to a session", None, streams as u64)?;
        let help = "Most entries that ever waited in one mailbox since the server started";
        gauge("mailbox_high_water_entries", help, None, counts.max_waiting_entries)?;
        let help = "Most bytes that ever waited in one mailbox since the server started";
        gauge("mailbox_high_water", help, Some(&Unit::Bytes), counts.max_waiting_bytes)?;
        if let Some(needed) = self.memory.needed() {
            let help = "Memory that the process needs, compared with --max-memory-mib";
            gauge("memory_needed", help, Some(&Unit::Bytes), needed)?;
        }

        let mut counter = |name, help, value: u64| {
            let value = ConstCounter::new(value);
            value.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
        };
        counter("sessions_opened", "Sessions opened by a join", counts.opened)?;
        counter("resumes", "Sessions resumed on a new stream", counts.resumed)?;

        let mut family = |name, help, kind, label: &'static str, values: &[(&'static str, u64)]| {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (label_value, value) in values {
                let labels: Label = [(label, *label_value)];
                let encoder = family.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => ConstCounter::new(*value).encode(encoder)?,
                    _ => ConstGauge::new(*value).encode(encoder)?,
                }
            }
            fmt::Result::Ok(())
        };
        let sessions = [("connected", connected as u64), ("suspended", suspended as u64)];
        family("sessions", "Sessions, by whether a stream is attached", MetricType::Gauge, "state", &sessions)?;
        let pairs = |names: &[&'static str], values: &[u64]| -> Vec<_> {
            names.iter().copied().zip(values.iter().copied()).collect()
        };
        let accepted = pairs(&SIGNAL_KINDS, &counts.accepted);
        let help = "Accepted signals, one per addressee";
        family("signals_accepted", help, MetricType::Counter, "kind", &accepted)?;
        let undelivered = pairs(&UNDELIVERED_REASONS, &counts.undelivered);
        let help = "Signals reported as undelivered, one per addressee";
        family("signals_undelivered", help, MetricType::Counter, "reason", &undelivered)?;
        let ended: Vec<_> = (1..).map_while(|reason| LeaveReason::try_from(reason).ok()).map(ended(&counts)).collect();
        family("sessions_ended", "Sessions ended, by leave reason", MetricType::Counter, "reason", &ended)
    }
}

/// Maps a leave reason to its label value and the number of sessions that it ended.
fn ended(counts: &Counts) -> impl Fn(LeaveReason) -> (&'static str, u64) + '_ {
    |reason| (reason.as_str_name().trim_start_matches("LEAVE_REASON_"), counts.ended[reason as usize])
}
