package config

import (
	"log/slog"
	"time"
)

// This file is what perigee does when nothing is said. Each function is one block of the YAML; the default texts of the
// schema say the same in the words of the files, and TestDefaultsAgree holds the two together.

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
)

func defaultNode() Node {
	return Node{Listen: defaultListen(), Limits: defaultLimits(), Log: defaultLog(), Store: defaultStore()}
}

// defaultListen is a node without a listen block: the ports of the web on every address, the operator's on this host only,
// because that listener needs no token there.
func defaultListen() Listen {
	return Listen{HTTP: []string{":80"}, HTTPS: []string{":443"}, Admin: "127.0.0.1:9180"}
}

// namedListen is a node with a listen block, before it is read: only what it names is opened, but the operator's door stays
// unless it is closed by word, so that no one is locked out by adding a port.
func namedListen() Listen {
	return Listen{Admin: defaultListen().Admin}
}

// defaultLimits lets one small machine live through a crowd. A request's content is not bounded: uploads stream through.
func defaultLimits() Limits {
	return Limits{
		Connections:      20000,
		ConnectionsPerIP: 512,
		HeaderTime:       15 * time.Second,
		Idle:             75 * time.Second,
		Requests:         10000,
		MinRate:          1 * kib,
		Fields:           128,
		FieldBytes:       64 * kib,
		Target:           16 * kib,
		Body:             0,
	}
}

// defaultLog is what a container or a unit under systemd collects.
func defaultLog() Log {
	return Log{Access: "stdout", Format: LogJSON, Level: slog.LevelInfo}
}

func defaultStore() Store {
	return Store{RAM: 1 * gib}
}

// `perigee proxy` is also run on desks: it takes less memory, a port that needs no rights, and no TLS that nobody asked for.
const (
	defaultProxyListen = ":8080"
	defaultProxyRAM    = 256 * mib
	defaultProxyDisk   = 10 * gib // where --disk is given and --disk-size is not
)

func defaultSite() Site {
	return Site{
		TLS:             TLS{Mode: TLSAuto},
		Origin:          Origin{Host: HostUpstream, Timeouts: defaultTimeouts(), Connections: 256},
		Cache:           defaultCache(),
		Compress:        defaultCompress(),
		RedirectToHTTPS: RedirectAuto,
	}
}

func defaultUpstream() Upstream { return Upstream{Weight: 1} }

// defaultTimeouts gives up early on an upstream that cannot be reached and late on one that is thinking. Total is open,
// because a large download from a healthy upstream may take hours.
func defaultTimeouts() Timeouts {
	return Timeouts{
		Connect: 3 * time.Second,
		TLS:     5 * time.Second,
		Header:  30 * time.Second,
		Idle:    60 * time.Second,
		Total:   0,
	}
}

// defaultCache adds nothing to what the origin says and lets no client empty the cache. A response that sets a cookie is
// somebody's own until the site's owner says otherwise, and a page below the path of a picture is nobody's picture.
func defaultCache() Cache {
	return Cache{
		DefaultTTL:           0,
		StaleWhileRevalidate: 0,
		StaleIfError:         0,
		ServeStaleOn:         StaleOn{Error: true, Timeout: true, Status5xx: true},
		RequestDirectives:    DirectivesIgnore,
		SetCookie:            SetCookiePass,
		DeceptionArmor:       true,
		MaxObjectSize:        50 * gib,
	}
}

// defaultToken lets a CMS purge all day and keeps one that has lost its mind from emptying the cache at full speed.
func defaultToken() PurgeToken { return PurgeToken{Rate: 100} }

// defaultCompress takes what is text and large enough to win by it. Pictures, films and fonts are compressed already.
func defaultCompress() Compress {
	return Compress{
		Types:     []string{"text/*", "application/javascript", "application/json", "image/svg+xml"},
		Min:       1 * kib,
		Encodings: []Encoding{EncodingBrotli, EncodingZstd, EncodingGzip},
	}
}
