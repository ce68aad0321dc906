//! A server without sockets: the real handlers over real books, in a time that passes as fast as
//! nobody has anything to do.

use std::{
    path::Path,
    rc::Rc,
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix_web::{http::header::HeaderValue, rt::task::JoinHandle};
use throttle::{
    cli::Serve,
    config::{Config, Limits, Logging, Stderr},
    http::{self, Api, PATTERNS},
    in_flight::InFlight,
    litter_collection,
    logging::{self, Log},
    metrics::Metrics,
    reload::Reloader,
    state::{Settings, State},
};
use tokio::{
    runtime::Builder,
    task::{LocalSet, spawn_local, yield_now},
};

/// What `/reload` reads.
const RELOADED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configurations/reloaded.toml");

/// How often others get their turn before whoever has not finished waits for something.
const TURNS: usize = 24;

/// In what a server differs from another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// Whether nothing is granted at first.
    pub has_window: bool,
    /// Whether administrators need a token, which is `token`.
    pub has_token: bool,
}

/// A server that runs until it is dropped.
pub struct Server {
    /// What its handlers share.
    pub api: Rc<Api>,
    /// What its configuration says about heads of requests.
    pub header_timeout: Duration,
    background: [JoinHandle<()>; 2],
}

/// Runs something on a worker of its own, whose time stands still unless it is waited for.
pub fn run<F: Future<Output = ()>>(future: F) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, future);
}

/// Lets everybody do what can be done at this moment.
pub async fn settle() {
    for _ in 0..TURNS {
        yield_now().await;
    }
}

impl Server {
    /// As `throttle::server` puts it together.
    pub fn start(start: Start) -> Self {
        let mut text = include_str!("../configurations/started.toml").to_owned();
        if start.has_window {
            text = format!("recovery_window = \"auto\"\n{text}max_expires_in = \"10m\"\n");
        }
        let config = Config::parse(&text, Path::new("started.toml")).unwrap();
        let recovery_window = config.recovery_window();
        let Limits { max_peers, max_semaphores, max_expires_in, .. } = config.limits;
        let max_waiters = config.limits.max_waiters.unwrap_or(usize::MAX);
        let settings =
            Settings { max_peers, max_semaphores, max_waiters, max_expires_in, recovery_window };
        let state = State::new(config.semaphores.clone(), settings);
        let metrics = Arc::new(Metrics::new(&PATTERNS).unwrap());
        let serve = Serve {
            address: "127.0.0.1".to_owned(),
            port: 8000,
            configuration: Some(RELOADED.into()),
        };
        let reloader = Reloader::new(serve, config.clone(), state.clone(), metrics.clone());
        let api = Rc::new(Api {
            traffic: metrics.traffic_of_worker(),
            reloader: Arc::new(reloader),
            sampler: Arc::default(),
            state: state.clone(),
            metrics,
            in_flight: InFlight::default(),
            log: log(),
            limits: http::Limits {
                max_block_for: config.limits.max_block_for,
                max_body: config.limits.max_body,
                body_timeout: config.limits.body_timeout,
            },
            admin: start.has_token.then(|| "token".into()),
            instance: HeaderValue::from_static("4711"),
        });
        let collection = litter_collection::run(state.clone(), config.litter_collection_interval);
        let background = [spawn_local(collection), spawn_local(api.sampler.clone().run(state))];
        Server { api, header_timeout: config.limits.header_timeout, background }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.background.iter().for_each(JoinHandle::abort);
    }
}

/// Nothing is logged, for there would be no end to it.
fn log() -> Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    let silent = || {
        let stderr = Stderr { level: log::LevelFilter::Off };
        logging::start(&Logging { stderr, gelf: None }).unwrap()
    };
    LOG.get_or_init(silent).clone()
}
