package config

// ProxyOptions are the flags of `perigee proxy`, each as it was typed; "" or nil = its default.
type ProxyOptions struct {
	To             string   // URL of the upstream; the only one that must be given
	Listen         []string // addresses for HTTP in clear; nil = :8080
	ListenTLS      []string // addresses for TLS; nil = none
	Cert, Key      string   // PEM files; "" = self-signed
	Host           string   // upstream, site, client or a name
	RAM            string   // a size
	Disk, DiskSize string   // not available in this version
	Admin          string   // address, or "off"
	PurgeTokenFile string   // not available in this version
}

// Proxy builds the configuration that `perigee proxy` runs: one catch-all site in front of one upstream. The error is a
// *Errors whose problems name flags.
func Proxy(o ProxyOptions) (*Node, error) {
	return nil, &Errors{Problems: []Problem{{Path: "--to", Message: "cannot be read yet"}}}
}
