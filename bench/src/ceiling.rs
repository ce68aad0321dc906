//! The ceiling: what actix-web answers at the most when it does nothing but read the request, split
//! its path and send a fixed answer, all by hand behind one `fn_service`.

use std::{future::poll_fn, pin::pin};

use actix_web::{
    App, HttpMessage, HttpResponse, HttpServer,
    body::{BodyStream, MessageBody},
    dev::{ServiceRequest, ServiceResponse, fn_service},
    http::{
        KeepAlive,
        header::{CONTENT_TYPE, HeaderValue},
    },
    rt::System,
};
use anyhow::Result;

/// Serves on this port of the loopback address until it is killed.
///
/// # Errors
/// Where it cannot listen.
pub fn run(port: u16) -> Result<()> {
    let workers = std::thread::available_parallelism()?.get();
    let server = HttpServer::new(|| App::new().default_service(fn_service(answer)))
        .workers(workers)
        // Without a timer for idle connections.
        .keep_alive(KeepAlive::Os)
        .bind(("127.0.0.1", port))?;
    Ok(System::new().block_on(server.run())?)
}

async fn answer(mut request: ServiceRequest) -> Result<ServiceResponse, actix_web::Error> {
    // An unread body would cost the connection.
    let mut body = pin!(BodyStream::new(request.take_payload()));
    while poll_fn(|context| body.as_mut().poll_next(context)).await.is_some() {}
    let mut segments = request.path().split('/').skip(1);
    let text = match (segments.next(), segments.next(), segments.next()) {
        (Some("peers"), Some(_id), None | Some(_)) => "Ok",
        _ => "1",
    };
    let mut response = HttpResponse::Ok().body(text);
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().append(CONTENT_TYPE, content_type);
    Ok(request.into_response(response))
}
