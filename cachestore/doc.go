// Package cachestore holds stored responses: several variants under one key, the
// fills that many readers follow while a response still arrives, the tiers in
// which they then live, and the one budget of bytes that all of it is taken from.
//
// It never decides whether a response may be stored or served (httpcache does) and
// never talks to an upstream (origin does): who begins a fill brings its bytes.
//
// Three rules carry it. Bytes are reserved from the [Budget] before memory is
// taken, and given back when the last who can still read them lets go. From the
// response head until eviction [Store.Get] sees the object: the filling list holds
// it until a tier shows it or refuses it. And trouble here is a miss, never an
// error of the request.
//
// A body is a sparse row of extents (RFC 9111 §3.3-3.4): each part of a
// representation that came is a body of its own, and an object refers to those that
// it knows of. Objects are never changed; a further part makes a new object, which
// shares the bytes of the one before, and takes its place in the tier. Only what has
// a strong validator is united, and only with what the tier has at that moment.
//
// Beneath memory there may be a [Depot], whose objects outlive the process. What both
// have under a key and variant is the same, or memory has it alone. A body may be in
// memory, or be read block by block from its [Source], or arrive so long that it goes to
// the depot meanwhile. Nobody who reads what arrives waits for a disk to write, and what is
// damaged or gone there is found to be so before its first byte is sent, or ends the
// reader with [ErrDamaged].
//
// Start reading at [Store.Begin], then [Fill.Copy] and [Reader.Next].
package cachestore
