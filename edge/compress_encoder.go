package edge

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"perigee/cachestore"
	"perigee/httpcache"
)

const (
	// maxEncoders is how many encoders there may be, at work and at rest. Each takes at
	// most encoderBytes.
	maxEncoders = 12
	// encodersPerProcessor bounds them on a small machine: more would only wait for a
	// turn.
	encodersPerProcessor = 4
	// encoderBytes is what the hungriest encoder holds, its output included: brotli's.
	encoderBytes = 5 << 20
	// waitingPart is the part of the encoders, one in so many, that a use may take which
	// waits for others; wholePart is what all of these leave alone.
	waitingPart = 2
	wholePart   = 4
	// maxEncoderLocks keeps the beginnings of different coded bodies out of each
	// other's way.
	maxEncoderLocks = 64

	// gainPart is the least that a coded form must save of a body to be kept, one byte in
	// so many: less is not worth its metadata here and its decoding there.
	gainPart = 20
	// vainFor is how long a body that coding makes hardly smaller, or that cannot be
	// coded, is sent as it is.
	vainFor = 24 * time.Hour
	// unkeptFor is how long a body is sent as it is when the store did not keep its
	// coded form: each client would else have it made anew.
	unkeptFor = 10 * time.Second
)

// effort is how hard an encoder tries.
type effort uint8

const (
	once   effort = iota // made for many, and kept
	inPass               // made for one client
	efforts
)

// use is what an encoder is taken for. It says what may keep the encoder from coming
// back.
type use uint8

const (
	wholeBody    use = iota // a stored body that is all there: nothing but the computing
	arrivingBody            // a stored body that is still arriving: the upstream
	relayedBody             // a body that is only passed on: the upstream and the client
	uses
)

var useEfforts = [uses]effort{wholeBody: once, arrivingBody: once, relayedBody: inPass}

// The levels and windows, chosen by measurement on web pages, style sheets and
// scripts: a step further costs a third more time or twice the memory for less than a
// twentieth of the bytes. Clients must read windows of 8 MiB (RFC 9659); ours are far
// smaller, since few pages are longer than they.
const (
	brotliWindow = 18      // bits
	zstdWindow   = 1 << 19 // bytes
)

var (
	brotliLevels = [efforts]int{5, 3}
	zstdLevels   = [efforts]zstd.EncoderLevel{zstd.SpeedDefault, zstd.SpeedFastest}
	gzipLevels   = [efforts]int{6, 4}
)

// codingWriter is what the writers of all three codings are.
type codingWriter interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// kind tells coders apart that cannot stand in for each other.
type kind struct {
	coding Coding
	effort effort
}

// coder is an encoder and what it has written. It has no goroutine of its own.
type coder struct {
	codingWriter
	kind kind
	use  use
	out  bytes.Buffer
}

func newCoder(k kind) (*coder, error) {
	c := &coder{kind: k}
	var err error
	switch k.coding {
	case Brotli:
		c.codingWriter = brotli.NewWriterOptions(&c.out, brotli.WriterOptions{Quality: brotliLevels[k.effort], LGWin: brotliWindow})
	case Zstd:
		c.codingWriter, err = zstd.NewWriter(&c.out, zstd.WithEncoderLevel(zstdLevels[k.effort]), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
	case Gzip:
		c.codingWriter, err = gzip.NewWriterLevel(&c.out, gzipLevels[k.effort])
	case Identity, codings:
		err = fmt.Errorf("no encoder for the coding %s", k.coding)
	}
	return c, err
}

// coders is all that a handler has for compressing. Two things are bounded apart from
// each other: encoders, because they are memory and may wait long for a slow origin or
// client; and turns, because only who has one computes. Encoders that may wait for
// others are bounded once more, by room: however many pages trickle, what is stored
// finds an encoder.
type coders struct {
	locks [maxEncoderLocks]sync.Mutex // held while a coded body of some keys is looked for and begun
	vain  memory[time.Time]           // until when a body is not worth coding, by the key of its coded form
	turns chan struct{}               // a place for each who computes

	mu    sync.Mutex // guards all that follows
	limit int        // 4 at least, or some uses have no place at all
	busy  int        // coders at work
	held  [uses]int  // the same, by use
	rest  int        // coders in idle
	idle  [codings][efforts][]*coder
}

// start makes c ready. It is called once, before the first request.
func (c *coders) start() {
	processors := runtime.GOMAXPROCS(0)
	c.limit = min(maxEncoders, encodersPerProcessor*processors)
	c.turns = make(chan struct{}, max(1, processors/2))
}

// key is where the coded form of o is stored. It is made of what names o's bytes, so
// it outlives a 304, and a restart where the body does, and dies with the body. No
// target has such a key.
func (c *coders) key(o *cachestore.Object, coding Coding) httpcache.Key {
	var preimage [17]byte
	copy(preimage[:8], "coded of")
	binary.LittleEndian.PutUint64(preimage[8:], o.Representation())
	preimage[16] = byte(coding)
	sum := sha256.Sum256(preimage[:])
	return httpcache.Key(sum[:len(httpcache.Key{})])
}

// isVain tells that coding has been tried and is not worth the trouble.
func (c *coders) isVain(key httpcache.Key, now time.Time) bool {
	until, known := c.vain.get(key)
	return known && now.Before(until)
}

// take takes a coder that has written nothing yet, nil where too many are at work. It
// must be given back by put or, should it have failed, by drop.
func (c *coders) take(coding Coding, u use) *coder {
	k := kind{coding, useEfforts[u]}
	one, ok := c.place(k, u)
	if !ok {
		return nil
	}
	if one == nil {
		var err error
		if one, err = newCoder(k); err != nil {
			c.drop(u)
			return nil
		}
	} else {
		one.out.Reset()
		one.Reset(&one.out)
	}
	one.use = u
	return one
}

// room tells whether one more coder may be taken for u. mu is held.
func (c *coders) room(u use) bool {
	if c.busy >= c.limit {
		return false
	}
	if u == wholeBody {
		return true
	}
	waiting := c.held[arrivingBody] + c.held[relayedBody]
	return c.held[u] < c.limit/waitingPart && waiting < c.limit-c.limit/wholePart
}

// place takes a place and a coder that is at rest, nil where one has to be made.
func (c *coders) place(k kind, u use) (one *coder, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.room(u) {
		return nil, false
	}
	c.busy++
	c.held[u]++
	if pool := &c.idle[k.coding][k.effort]; len(*pool) > 0 {
		return c.pop(pool), true
	}
	if c.busy+c.rest > c.limit {
		c.shrink()
	}
	return nil, true
}

// pop takes a coder out of a pool. mu is held.
func (c *coders) pop(pool *[]*coder) *coder {
	last := len(*pool) - 1
	one := (*pool)[last]
	(*pool)[last] = nil
	*pool = (*pool)[:last]
	c.rest--
	return one
}

// shrink lets go of one coder at rest. mu is held.
func (c *coders) shrink() {
	for i := range c.idle {
		for j := range c.idle[i] {
			if pool := &c.idle[i][j]; len(*pool) > 0 {
				c.pop(pool)
				return
			}
		}
	}
}

// put gives a coder back.
func (c *coders) put(one *coder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
	c.held[one.use]--
	c.rest++
	pool := &c.idle[one.kind.coding][one.kind.effort]
	*pool = append(*pool, one)
}

// drop gives back the place of a coder that is not used again.
func (c *coders) drop(u use) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
	c.held[u]--
}

// lock is the lock under which the coded body of a key is looked for and begun.
func (c *coders) lock(key httpcache.Key) *sync.Mutex { return &c.locks[key[0]%maxEncoderLocks] }
