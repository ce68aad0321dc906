//! Puts the server together, starts it, and stops it in order.

use std::{
    future::ready, net::SocketAddr, num::NonZero, process, rc::Rc, sync::Arc, thread,
    time::Duration,
};

use actix_http::{HttpService, KeepAlive, error::DispatchError};
use actix_server::{Server, ServerHandle, ServerServiceFactory};
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::{
    App,
    dev::AppConfig,
    http::header::HeaderValue,
    rt::{self, net::TcpStream},
};
use anyhow::{Context, ensure};
use log::{info, warn};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    cli::Serve,
    config::{Config, Limits},
    connections,
    http::{self, Api, serve},
    ids::random_instance,
    in_flight::InFlight,
    litter_collection,
    logging::{self, Log},
    metrics::Metrics,
    reload::Reloader,
    semaphore::Catalogue,
    signals::{Hangups, Signals},
    state::{Settings, State},
    watch::{Allowed, Watch, Watched},
};

/// An idle connection is kept for longer than clients pause between heartbeats (5 minutes at the
/// published ones), so that they need not connect anew each time.
const KEEP_ALIVE: Duration = Duration::from_secs(10 * 60);

/// So long the rest of a request is still read, and thrown away, whose connection is to be closed:
/// otherwise its client could miss the answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// Requests that are being answered when the server shuts down get this long.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the server until a signal ends it.
///
/// # Errors
/// If the configuration is bad, or the address cannot be listened on.
pub fn run(serve: &Serve) -> anyhow::Result<()> {
    let config = serve.read_configuration()?;
    let log = logging::start(&config.logging)?;
    info!(
        target: "throttle",
        address = serve.address, port = serve.port, version = env!("CARGO_PKG_VERSION");
        "Hello From Throttle"
    );
    let Catalogue { semaphores, templates } = &config.semaphores;
    if semaphores.is_empty() && templates.is_empty() {
        warn!(target: "throttle", "No semaphores configured.");
    }
    let result = rt::System::new().block_on(serve_until_signal(serve, config, log.clone()));
    log.drain();
    result
}

async fn serve_until_signal(serve: &Serve, config: Config, log: Log) -> anyhow::Result<()> {
    const DEAF: &str = "cannot listen for signals";
    let mut signals = Signals::new().context(DEAF)?;
    let hangups = Hangups::new().context(DEAF)?;
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let files = connections::raise_limit();
    ensure!(
        files > connections::OTHER_FILES,
        "no more than {files} files may be open; raise that limit (`ulimit -n`) above {}",
        connections::OTHER_FILES
    );
    let connections = connections::for_each_worker(files, workers);
    let may_wait = connections::that_may_wait(connections, workers);
    let api = put_together(serve, &config, may_wait, log)?;
    let (state, in_flight) = (api.state.clone(), api.in_flight.clone());

    let mut server =
        Server::build().disable_signals().workers(workers).max_concurrent_connections(connections);
    let listeners = connections::listeners(&serve.address, serve.port);
    for listener in listeners.with_context(|| cannot_listen(serve))? {
        let address = listener.local_addr()?;
        let service = service(api.clone(), config.limits.header_timeout);
        server = server.listen(format!("throttle-{address}"), listener, service)?;
        let version = env!("CARGO_PKG_VERSION");
        logging::note(&format!("Throttle {version} listening on http://{address}"));
    }
    let server = server.run();
    let handle = server.handle();
    let mut running = rt::spawn(server);
    rt::spawn(litter_collection::run(state.clone(), config.litter_collection_interval));
    rt::spawn(api.sampler.clone().run(state.clone()));
    rt::spawn(reload_on(hangups, api.reloader.clone()));

    let signal = tokio::select! {
        signal = signals.next() => signal,
        ended = &mut running => return ended?.context("the server failed"),
    };
    info!(target: "throttle", signal = signal.name; "{} received, shutting down", signal.name);
    tokio::select! {
        // Looked at first, so that a second signal which is there already is not overtaken.
        biased;
        signal = signals.next() => process::exit(signal.exit_code),
        () = stop(&handle, &state, &in_flight) => {}
    }
    running.await?.context("the server failed")
}

/// Reads the configuration again whenever a SIGHUP comes. What came of it is in the log.
async fn reload_on(mut hangups: Hangups, reloader: Arc<Reloader>) {
    loop {
        hangups.next().await;
        // The next one is heard also while this one waits for its file.
        rt::spawn(reloader.clone().reload("SIGHUP".to_owned()));
    }
}

/// What the workers share, as the configuration has it. No more than `may_wait` requests may wait.
fn put_together(serve: &Serve, config: &Config, may_wait: usize, log: Log) -> anyhow::Result<Api> {
    let recovery_window = config.recovery_window();
    let Limits { max_peers, max_semaphores, max_waiters, max_expires_in, .. } = config.limits;
    if let Some(max_waiters) = max_waiters.filter(|max_waiters| *max_waiters > may_wait) {
        warn!(
            target: "throttle", max_waiters, may_wait;
            "limits.max_waiters is {max_waiters}, but no more than {may_wait} can wait: three \
             quarters of the connections that there can be"
        );
    }
    let max_waiters = max_waiters.unwrap_or(may_wait).min(may_wait);
    let settings =
        Settings { max_peers, max_semaphores, max_waiters, max_expires_in, recovery_window };
    if let Some(window) = recovery_window {
        let window = humantime::format_duration(window);
        info!(target: "throttle", "recovery window: no lock is granted for {window}");
    }
    // As long as the process lives: copies of it then share no reference count.
    let instance = random_instance().to_string().leak();
    let state = State::new(config.semaphores.clone(), settings);
    let metrics = Arc::new(Metrics::new(&http::PATTERNS)?);
    let reloader = Reloader::new(serve.clone(), config.clone(), state.clone(), metrics.clone());
    Ok(Api {
        // Replaced by each worker's own.
        traffic: metrics.traffic_of_worker(),
        reloader: Arc::new(reloader),
        sampler: Arc::default(),
        state,
        metrics,
        in_flight: InFlight::default(),
        log,
        limits: http::Limits {
            max_block_for: config.limits.max_block_for,
            max_body: config.limits.max_body,
            body_timeout: config.limits.body_timeout,
        },
        admin: config.admin.token.clone(),
        instance: HeaderValue::from_static(instance),
    })
}

/// What each worker does with a connection.
fn service(api: Api, header_timeout: Duration) -> impl ServerServiceFactory<TcpStream> {
    move || {
        // One a worker: requests of different workers then share no reference count.
        let traffic = api.metrics.traffic_of_worker();
        let http = protocol(Rc::new(Api { traffic, ..api.clone() }), header_timeout);
        let watch = Watch::start(Allowed { head: header_timeout, idle: KEEP_ALIVE });
        let watched = move |stream: TcpStream| {
            connections::send_at_once(&stream);
            connections::limit_silence(&stream);
            let peer = stream.peer_addr().ok();
            ready(Ok((watch.over(stream), peer)))
        };
        fn_service(watched).and_then(http)
    }
}

/// What is spoken on a connection, over whatever stream.
pub fn protocol<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    api: Rc<Api>,
    header_timeout: Duration,
) -> impl ServiceFactory<
    (Watched<S>, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
> {
    let app = App::new().default_service(fn_service(move |request| serve(api.clone(), request)));
    HttpService::build()
        // The idle time is watched here as well.
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(header_timeout)
        .client_disconnect_timeout(FAREWELL)
        // Whoever hangs up while parked is not waited for; the lock stays pending all the same.
        .h1_allow_half_closed(false)
        .on_connect_ext(|stream: &Watched<S>, extensions| {
            extensions.insert(stream.connection());
        })
        .h1(map_config(app.into_factory().map_err(|error| error.error_response()), |()| {
            AppConfig::default()
        }))
}

fn cannot_listen(serve: &Serve) -> String {
    let Serve { address, port, .. } = serve;
    format!(
        "cannot listen on {address}:{port}; name another place with --address or --port, or stop \
         who listens there"
    )
}

/// No new connections; parked requests are answered at once, and those in flight within the grace.
async fn stop(server: &ServerHandle, state: &State, in_flight: &InFlight) {
    server.pause().await;
    in_flight.start_draining();
    state.shut_down();
    in_flight.drain(GRACE).await;
    // What is left are idle connections and half-sent requests.
    server.stop(false).await;
}
