package edge

import (
	"net/http"
	"strings"
)

// The classes of device that a key may tell apart. There is no other.
const (
	deviceDesktop = "desktop" // also televisions, and whatever says nothing of itself
	deviceMobile  = "mobile"
	deviceTablet  = "tablet"
	deviceBot     = "bot" // a crawler or tool that pretends to no device
)

// maxAgentBytes is how far a User-Agent is read. Those of devices are shorter.
const maxAgentBytes = 1024

// deviceClass is the class of the device that the client says it is, from
// Sec-CH-UA-Mobile (a browser's own word, so it comes first) and User-Agent. ?1 is a
// mobile; ?0 is a desktop unless User-Agent speaks of a tablet, which some browsers
// count as not mobile. A crawler that takes the part of a device, such as the
// smartphone Googlebot, gets the class of that device: it is there to see those
// pages. iPads that ask for desktop pages say that they are Macintoshes, and are
// believed. The time is linear in what is read, and nothing is allocated.
func deviceClass(h http.Header) string {
	signs := agentSigns(h.Get("User-Agent"))
	hint := ""
	if lines := h["Sec-Ch-Ua-Mobile"]; len(lines) == 1 {
		hint = strings.Trim(lines[0], " \t")
	}
	switch {
	case hint == "?1":
		return deviceMobile
	case signs.screen && !signs.mobile:
		return deviceDesktop
	case signs.tablet || signs.android && !signs.mobile:
		return deviceTablet
	case hint == "?0":
		return deviceDesktop
	case signs.mobile:
		return deviceMobile
	case signs.bot && !signs.desktop:
		return deviceBot
	}
	return deviceDesktop
}

// signs are what the words of a User-Agent speak of, several at once as a rule.
type signs struct {
	mobile, tablet, desktop, bot bool

	screen  bool // a television
	android bool // a phone if it is mobile, else a tablet or television

	before lastWord // where the next one changes what it means
}

// lastWord is the word before the one that is read.
type lastWord uint8

const (
	noWord lastWord = iota // none that matters
	wordTablet
	wordOpera
)

// maxWordBytes is the length of the longest word that is looked for.
const maxWordBytes = 24

// agentSigns reads the words of a User-Agent: runs of letters, in any case.
func agentSigns(agent string) signs {
	agent = agent[:min(len(agent), maxAgentBytes)]
	var s signs
	var word [maxWordBytes]byte
	for at := 0; at < len(agent); at++ {
		n := 0
		for ; at < len(agent) && asciiLetter(agent[at]); at++ {
			if n < len(word) {
				word[n] = agent[at] | 0x20
				n++
			}
		}
		if n > 0 {
			s.read(string(word[:n]))
		}
	}
	return s
}

func asciiLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// read takes one word in lower case.
func (s *signs) read(word string) {
	before := s.before
	s.before = noWord
	switch word {
	case "android":
		s.android = true
	case "iphone", "ipod", "phone", "blackberry", "midp", "symbian", "symbianos", "symbos":
		s.mobile = true
	case "ipad", "kindle", "playbook", "touchpad", "silk":
		s.tablet = true
	case "tablet":
		s.tablet = true
		s.before = wordTablet
	case "pc":
		if before == wordTablet { // Internet Explorer on a PC with a pen
			s.tablet = false
		}
	case "opera":
		s.before = wordOpera
	case "mini":
		s.mobile = s.mobile || before == wordOpera
	case "tv", "smarttv", "googletv", "appletv", "hbbtv", "bravia", "crkey", "roku":
		s.screen = true
	case "windows", "macintosh", "linux", "cros", "freebsd", "openbsd":
		s.desktop = true
	case "slurp", "facebookexternalhit", "curl", "wget", "python":
		s.bot = true
	default:
		s.mobile = s.mobile || strings.Contains(word, "mobi")
		s.screen = s.screen || s.android && strings.HasPrefix(word, "aft") // Fire TV names its models so
		s.bot = s.bot || strings.HasSuffix(word, "bot") || strings.Contains(word, "spider") || strings.Contains(word, "crawl")
	}
}
