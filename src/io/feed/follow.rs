//! The threads that keep feeds current, one for each issuer, so that no CA's server holds up another's CRL:
//! [`follow`] starts them, [`Orders`] tells them what to do. What takes long, they leave to a [`Reader`].

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::{Feed, kept::Kind, reader::Reader};
use crate::{
    audit::event::Event,
    clock::Clock,
    io::{journal::Journal, metrics::Metrics, store::Store},
};

/// How often files are looked at. A look is one `stat` a file.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// How often the store is told how far the journal need not be read again.
const JOURNAL_READ: Duration = Duration::from_secs(600);

/// Entries of the ledger that are shown.
const SHOWN: usize = 50;

/// What the threads work with beside their feeds.
#[derive(Clone)]
pub struct World {
    pub journal: Journal,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    pub store: Store,
}

/// The threads; [`Followers::stop`] ends them.
#[derive(Debug)]
pub struct Followers {
    orders: Orders,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// Tells the threads what to do, and what they have.
#[derive(Debug, Clone)]
pub struct Orders {
    feeds: Arc<[Line]>,
    store: Store,
}

/// To one thread.
#[derive(Debug)]
struct Line {
    issuer: String,
    orders: mpsc::UnboundedSender<Order>,
    overview: Arc<Mutex<Value>>,
}

#[derive(Debug)]
enum Order {
    /// Look at every source now.
    Look,
    Reset {
        source: Option<String>,
    },
}

impl Orders {
    /// Has every source looked at, whenever it would be due.
    pub fn look(&self) {
        for line in &*self.feeds {
            let _ = line.orders.send(Order::Look);
        }
    }

    /// Lets the CRL numbers of an issuer go back, those of one source or of all.
    pub fn reset(&self, issuer: &str, source: Option<String>) {
        match self.feeds.iter().find(|line| line.issuer == issuer) {
            Some(line) => {
                let _ = line.orders.send(Order::Reset { source });
            }
            None => tracing::error!("`gnomon crl reset-mark`: there is no issuer `{issuer}` here"),
        }
    }

    /// What every source has, and the last entries of the ledger.
    pub fn overview(&self) -> Value {
        let show = |line: &Line| {
            let overview = line.overview.lock();
            overview.unwrap_or_else(PoisonError::into_inner).clone()
        };
        let issuers: Vec<_> = self.feeds.iter().map(show).collect();
        json!({ "issuers": issuers, "ledger": self.store.ledger(SHOWN) })
    }
}

impl Followers {
    pub const fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Waits until the threads have ended: after what they are reading, but not what they are fetching.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.orders.store.flush();
    }
}

/// Keeps `feeds` current, and puts on record what was accepted and refused.
pub fn follow(feeds: Vec<Feed>, world: &World) -> io::Result<Followers> {
    let (stop, stopped) = watch::channel(false);
    let (mut threads, mut lines) = (Vec::new(), Vec::new());
    for feed in feeds {
        let (sender, orders) = mpsc::unbounded_channel();
        let overview = Arc::new(Mutex::new(feed.overview()));
        lines.push(Line {
            issuer: feed.name.clone(),
            orders: sender,
            overview: Arc::clone(&overview),
        });
        let follower = Follower {
            reader: Reader::start(stopped.clone())?,
            world: world.clone(),
            overview,
            orders,
            stopped: stopped.clone(),
            told: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new().name("feed".into());
        threads.push(thread.spawn(move || runtime.block_on(follower.follow(feed)))?);
    }
    Ok(Followers {
        orders: Orders {
            feeds: lines.into(),
            store: world.store.clone(),
        },
        stop,
        threads,
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
    async fn follow(mut self, mut feed: Feed) {
        let mut stop = self.stopped.clone();
        loop {
            let now = self.world.clock.trusted().ok().map(|time| time.seconds());
            let Some(looked) = self.reader.look(feed, now).await else {
                return tracing::error!("the thread that reads CRLs has died; start gnomon anew");
            };
            feed = looked.feed;
            for error in looked.errors {
                let effect = error.effect();
                tracing::error!("{error}{effect}");
            }
            self.put_on_record(&mut feed);
            if looked.changed {
                feed.swap();
            }
            self.show(&feed);
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => obey(&mut feed, order),
                    None => break,
                },
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
        self.told = None;
        self.put_on_record(&mut feed);
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

    fn show(&self, feed: &Feed) {
        for slot in &feed.slots {
            let base = (&slot.base, Kind::Complete);
            let delta = slot.delta.iter().map(|delta| (delta, Kind::Delta));
            for (source, kind) in std::iter::once(base).chain(delta) {
                let (name, crl) = (source.name(), slot.crl(kind));
                self.world.metrics.crl(&name, crl, source.all_failures);
            }
        }
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
            tracing::warn!("`gnomon crl reset-mark`: {reset} marks were there to lower");
        }
    }
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
                "a CRL of {issuer} with a number below {number} is taken next, as the operator wishes"
            );
        }
        _ => {}
    }
}
