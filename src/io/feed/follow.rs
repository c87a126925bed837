//! The threads that keep feeds current, one for each issuer, so that no CA's server holds up another's CRL:
//! [`follow`] starts one. What takes long, it leaves to a [`Reader`].

use std::{
    io,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::{Feed, reader::Reader, state::each};
use crate::{
    audit::event::Event,
    clock::Clock,
    io::{journal::Journal, metrics::Metrics, store::Store},
    service::code,
};

/// How often files are looked at. A look is one `stat` a file.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// How often the store is told how far the journal need not be read again.
const JOURNAL_READ: Duration = Duration::from_secs(600);

/// What the threads work with beside their feeds.
#[derive(Clone)]
pub struct World {
    pub journal: Journal,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    pub store: Store,
}

/// A thread that keeps one feed current.
#[derive(Debug)]
pub(super) struct Following {
    line: Arc<Line>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<Option<Feed>>,
}

/// To one thread.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) issuer: String,
    pub(super) orders: mpsc::UnboundedSender<Order>,
    pub(super) overview: Arc<Mutex<Value>>,
}

#[derive(Debug)]
pub(super) enum Order {
    /// Look at every source now.
    Look,
    Reset {
        source: Option<String>,
    },
}

impl Following {
    pub(super) const fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Tells it to end. It does so after what it is reading, but drops what it is fetching.
    pub(super) fn end(&self) {
        self.stop.send_replace(true);
    }

    /// Ends it, and waits for its feed; none where the thread has panicked.
    pub(super) fn ended(self) -> Option<Feed> {
        self.end();
        self.thread.join().ok().flatten()
    }
}

/// Keeps `feed` current, and puts on record what was accepted and refused.
pub(super) fn follow(feed: Feed, world: &World) -> io::Result<Following> {
    let (stop, stopped) = watch::channel(false);
    let (sender, orders) = mpsc::unbounded_channel();
    let overview = Arc::new(Mutex::new(feed.overview()));
    let line = Line {
        issuer: feed.name.clone(),
        orders: sender,
        overview: Arc::clone(&overview),
    };
    let follower = Follower {
        reader: Reader::start(stopped.clone())?,
        world: world.clone(),
        overview,
        orders,
        stopped,
        told: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new().name("feed".into());
    let thread = thread.spawn(move || runtime.block_on(follower.follow(feed)))?;
    Ok(Following {
        line: Arc::new(line),
        stop,
        thread,
    })
}

struct Follower {
    reader: Reader,
    world: World,
    overview: Arc<Mutex<Value>>,
    orders: mpsc::UnboundedReceiver<Order>,
    stopped: watch::Receiver<bool>,
    /// When the store was last told of the journal.
    told: Option<Instant>,
}

impl Follower {
    /// Gives the feed back when it is told to stop; none where what reads it has died.
    async fn follow(mut self, mut feed: Feed) -> Option<Feed> {
        let mut stop = self.stopped.clone();
        loop {
            let now = self.world.clock.trusted().ok().map(|time| time.seconds());
            let Some(looked) = self.reader.look(feed, now).await else {
                tracing::error!(
                    code = code::READER_DEAD,
                    "the thread that reads CRLs has died; start gnomon anew"
                );
                return None;
            };
            feed = looked.feed;
            for error in looked.errors {
                let effect = error.effect();
                tracing::error!(code = error.code(), "{error}{effect}");
                if let Some(alarm) = error.alarm() {
                    self.world.metrics.crl_alarm(alarm);
                }
            }
            self.put_on_record(&mut feed);
            if looked.changed {
                feed.swap();
            }
            self.show(&mut feed);
            let pause = match feed.is_cut_short {
                true => Duration::ZERO,
                false => INTERVAL,
            };
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => {
                        obey(&mut feed, order);
                        // Whoever has asked while it looked is served by one look.
                        while let Ok(order) = self.orders.try_recv() {
                            obey(&mut feed, order);
                        }
                    }
                    None => break,
                },
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.refuse_orders(&feed.name);
        self.told = None;
        self.put_on_record(&mut feed);
        Some(feed)
    }

    /// What was ordered while it ended. Another feed may take over, and would not know of it.
    fn refuse_orders(&mut self, issuer: &str) {
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Reset { .. } => not_reset(issuer),
                Order::Look => {}
            }
        }
    }

    /// The store first: what the journal says of marks up to a number need not be read again once the store knows.
    fn put_on_record(&mut self, feed: &mut Feed) {
        let events: Vec<_> = feed.judge.news.drain(..).collect();
        let rests = self.told.is_some_and(|told| told.elapsed() < JOURNAL_READ);
        if events.is_empty() && rests {
            return;
        }
        feed.remember(&events);
        for event in &events {
            say(event);
            self.world.journal.note(event);
        }
        self.tell_of_journal();
        self.told = Some(Instant::now());
    }

    fn tell_of_journal(&self) {
        let records = self.world.journal.figures().records;
        self.world.store.set_journal_read(records);
        self.world.store.flush();
    }

    fn show(&self, feed: &mut Feed) {
        for slot in &feed.slots {
            for (source, kind) in each(slot) {
                let failures = &source.uncounted;
                let crl = slot.crl(kind);
                self.world.metrics.crl(&source.name(), crl, failures);
            }
        }
        feed.sources_mut()
            .for_each(|source| source.uncounted.clear());
        let mut overview = self.overview.lock();
        let overview = overview.as_deref_mut();
        if let Ok(overview) = overview {
            *overview = feed.overview();
        }
    }
}

fn obey(feed: &mut Feed, order: Order) {
    match order {
        Order::Look => feed.hurry(),
        Order::Reset { source } => {
            let reset = feed.reset(source.as_deref());
            tracing::warn!(
                code = code::MARKS_LOWERED,
                "`gnomon crl reset-mark`: {reset} marks were there to lower"
            );
        }
    }
}

/// Says that nobody has taken the order.
pub(super) fn not_reset(issuer: &str) {
    tracing::error!(
        code = code::MARKS_LOWERED,
        "`gnomon crl reset-mark`: nothing was lowered, since the CRLs of issuer `{issuer}` stand still for a reload or a stop; ask \
         again after it"
    );
}

fn say(event: &Event) {
    match event {
        Event::CrlAccepted {
            issuer,
            source,
            number,
            ..
        } => {
            let number = number.as_deref().unwrap_or("none");
            tracing::info!("{source}: the CRL of {issuer} with number {number} is in force");
        }
        Event::CrlMarkReset { issuer, number, .. } => {
            let number = number.as_deref().unwrap_or("none");
            tracing::warn!(
                code = code::MARKS_LOWERED,
                "a CRL of {issuer} with a number below {number} is taken next, as the operator wishes"
            );
        }
        _ => {}
    }
}
