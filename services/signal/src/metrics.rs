//! Figures for operators, as OpenMetrics text: what rooms have counted is collected when somebody asks, so that the
//! path of a signal has nothing but additions to plain numbers of its own room.
//!
//! Nothing is labelled with a room, a member or an address: there are too many, and they are nobody else's business.

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
use signalbox_proto::v1::LeaveReason;

use crate::{
    error::Error,
    hub::Hub,
    room::{
        Room,
        count::{self, Counts},
    },
};

/// As the OpenMetrics specification has it.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A label's name and value.
type Label = [(&'static str, &'static str); 1];

/// What is and what was in the whole server.
#[derive(Debug, Default)]
pub struct Figures {
    /// Live rooms.
    pub rooms: usize,
    /// Sessions that a stream carries.
    pub connected: usize,
    /// Sessions that wait to be resumed.
    pub suspended: usize,
    /// Streams that carry a session, or did until it ended or another took it over.
    pub streams: usize,
    /// What happened since the server started.
    pub counts: Counts,
}

impl Figures {
    /// Adds a live room's.
    pub fn add(&mut self, room: &Room) {
        let (connected, suspended) = room.presence();
        self.rooms += usize::from(!room.is_retired());
        self.connected += connected;
        self.suspended += suspended;
        self.counts.add(room.counts());
    }
}

/// Counts who was not let in.
#[derive(Debug, Default)]
pub struct Refusals {
    joins: Family<Label, Counter>,
    resumes: Family<Label, Counter>,
}

impl Refusals {
    /// A join was refused.
    pub fn join(&self, error: &Error) {
        self.joins.get_or_create(&[("reason", error.code().1)]).inc();
    }

    /// A resume was refused.
    pub fn resume(&self, error: &Error) {
        self.resumes.get_or_create(&[("reason", error.code().1)]).inc();
    }
}

/// Serves `GET /metrics`.
pub fn router(hub: Arc<Hub>) -> Router {
    let mut registry = Registry::with_prefix("signalbox");
    let Refusals { joins, resumes } = hub.refusals();
    registry.register("joins_refused", "Joins that were refused, by error reason", joins.clone());
    registry.register("resumes_refused", "Resumes that were refused, by error reason", resumes.clone());
    registry.register_collector(Box::new(Rooms(hub)));
    Router::new().route("/metrics", get(scrape)).with_state(Arc::new(registry))
}

async fn scrape(State(registry): State<Arc<Registry>>) -> Response {
    let mut text = String::new();
    if text::encode(&mut text, &registry).is_err() {
        // A string takes everything.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

/// Collects what rooms have counted.
struct Rooms(Arc<Hub>);

impl Debug for Rooms {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Rooms")
    }
}

impl Collector for Rooms {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Figures { rooms, connected, suspended, streams, counts } = self.0.figures();
        let mut gauge = |name, help, unit: Option<&Unit>, value: u64| {
            let value = ConstGauge::new(value);
            value.encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
        };
        gauge("rooms", "Live rooms", None, rooms as u64)?;
        gauge("streams", "Streams that carry a session", None, streams as u64)?;
        let most = "Most entries that ever waited for one session since the server started";
        gauge("mailbox_high_water_entries", most, None, counts.most_entries)?;
        let most = "Most bytes that ever waited for one session since the server started";
        gauge("mailbox_high_water", most, Some(&Unit::Bytes), counts.most_bytes)?;
        if let Some(needed) = self.0.memory().needed() {
            let help = "Memory that the process needs, which is compared with --max-memory-mib";
            gauge("memory_needed", help, Some(&Unit::Bytes), needed)?;
        }

        let mut counter = |name, help, value: u64| {
            let value = ConstCounter::new(value);
            value.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
        };
        counter("sessions_opened", "Sessions opened by a join", counts.opened)?;
        counter("resumes", "Sessions continued on another stream", counts.resumed)?;

        let mut family = |name, help, kind, label: &'static str, values: &[(&'static str, u64)]| {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (of, value) in values {
                let labels: Label = [(label, *of)];
                let encoder = family.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => ConstCounter::new(*value).encode(encoder)?,
                    _ => ConstGauge::new(*value).encode(encoder)?,
                }
            }
            fmt::Result::Ok(())
        };
        let sessions = [("connected", connected as u64), ("suspended", suspended as u64)];
        family("sessions", "Sessions, by whether a stream carries them", MetricType::Gauge, "state", &sessions)?;
        let pairs = |names: &[&'static str], values: &[u64]| -> Vec<_> {
            names.iter().copied().zip(values.iter().copied()).collect()
        };
        let accepted = pairs(&count::KINDS, &counts.accepted);
        let help = "Signals accepted, one for each addressee";
        family("signals_accepted", help, MetricType::Counter, "kind", &accepted)?;
        let undelivered = pairs(&count::REASONS, &counts.undelivered);
        let help = "Signals reported as undelivered, one for each addressee";
        family("signals_undelivered", help, MetricType::Counter, "reason", &undelivered)?;
        let ended: Vec<_> = (1..).map_while(|reason| LeaveReason::try_from(reason).ok()).map(ended(&counts)).collect();
        family(
            "sessions_ended",
            "Sessions ended, by the reason that the others were told",
            MetricType::Counter,
            "reason",
            &ended,
        )
    }
}

/// A reason as the contract has it, without what all of them begin with, and how many sessions ended for it.
fn ended(counts: &Counts) -> impl Fn(LeaveReason) -> (&'static str, u64) + '_ {
    |reason| (reason.as_str_name().trim_start_matches("LEAVE_REASON_"), counts.ended[reason as usize])
}
