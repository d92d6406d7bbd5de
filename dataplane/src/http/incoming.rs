//! The body of a client's request, which is read to its end even if nothing uses it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::exchange::Progress;

/// The body of a client's request. When it is dropped, the rest of the body is read and discarded: a client that is
/// still sending may not read the response before, or may lose it to a reset (RFC 9112 §9.6, RFC 9113 §8.1).
#[derive(Debug)]
pub(crate) struct RequestStream(Option<Box<UnreadBody>>);

/// A body that has not ended. It is boxed because it is moved more often than it is read.
#[derive(Debug)]
struct UnreadBody {
    incoming: Incoming,
    connection: Rc<Progress>,
    /// Is false for a client that waits for `100 Continue` before it sends the body: then there is nothing to discard.
    is_sent: bool,
}

impl RequestStream {
    /// Wraps the body of `request`.
    pub(crate) fn wrap(request: Request<Incoming>, connection: &Rc<Progress>) -> Request<Self> {
        let is_sent = !request.headers().contains_key(header::EXPECT);
        request.map(|incoming| {
            let has_ended = incoming.is_end_stream();
            let connection = Rc::clone(connection);
            Self((!has_ended).then(|| Box::new(UnreadBody { incoming, connection, is_sent })))
        })
    }
}

impl Body for RequestStream {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(unread) = &mut this.0 else { return Poll::Ready(None) };
        unread.is_sent = true;
        let frame = Pin::new(&mut unread.incoming).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = &frame {
            this.0 = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|unread| unread.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |unread| unread.incoming.size_hint())
    }
}

impl Drop for RequestStream {
    fn drop(&mut self) {
        if let Some(unread) = self.0.take().filter(|unread| !unread.incoming.is_end_stream()) {
            let UnreadBody { incoming, connection, is_sent } = *unread;
            if is_sent {
                connection.discard(incoming);
            } else {
                connection.client().set_unread(true);
            }
        }
    }
}
