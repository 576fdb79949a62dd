package edge

import (
	"net/http"
	"strings"
	"testing"
)

// TestDeviceClass: User-Agents as they are seen, and what browsers say beside them.
func TestDeviceClass(t *testing.T) {
	t.Parallel()
	const safari = " AppleWebKit/537.36 (KHTML, like Gecko) "
	const chrome = safari + "Chrome/126.0.0.0 "
	for _, tc := range []struct{ agent, mobile, want string }{
		// Desktops.
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64)" + chrome + "Safari/537.36", "?0", "desktop"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64)" + chrome + "Safari/537.36 Edg/126.0.0.0", "?0", "desktop"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0", "", "desktop"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15", "", "desktop"},
		{"Mozilla/5.0 (X11; Linux x86_64)" + chrome + "Safari/537.36", "", "desktop"},
		{"Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0", "", "desktop"},
		{"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0)" + chrome + "Safari/537.36", "", "desktop"},
		{"Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko", "", "desktop"},
		{"Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; WOW64; Trident/4.0; SLCC2; Tablet PC 2.0)", "", "desktop"},
		{"Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18", "", "desktop"},
		{"Lynx/2.9.0 libwww-FM/2.14 SSL-MM/1.4.1 GNUTLS/3.7.1", "", "desktop"},
		{"", "", "desktop"},
		{"-", "", "desktop"},
		// Televisions.
		{"Mozilla/5.0 (Web0S; Linux/SmartTV)" + chrome + "Safari/537.36 WebAppManager", "", "desktop"},
		{"Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0)" + safari + "76.0.3809.146/6.0 TV Safari/537.36", "", "desktop"},
		{"Mozilla/5.0 (Linux; Android 9; BRAVIA 4K UR2 Build/PTT1.190515.001.S38)" + chrome + "Safari/537.36", "", "desktop"},
		{"Mozilla/5.0 (Linux; Android 7.1.2; AFTMM Build/NS6265)" + safari + "Silk/108.4.6 like Chrome/108.0.5359.220 Safari/537.36", "", "desktop"},
		{"Mozilla/5.0 (X11; Linux armv7l)" + chrome + "Safari/537.36 CrKey/1.44.191160", "", "desktop"},
		// Phones.
		{"Mozilla/5.0 (Linux; Android 10; K)" + chrome + "Mobile Safari/537.36", "?1", "mobile"},
		{"Mozilla/5.0 (Linux; Android 10; K)" + chrome + "Mobile Safari/537.36", "", "mobile"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1", "", "mobile"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.6478.35 Mobile/15E148 Safari/604.1", "", "mobile"},
		{"Mozilla/5.0 (iPod touch; CPU iPhone OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148", "", "mobile"},
		{"Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0", "", "mobile"},
		{"Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B)" + safari + "SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36", "", "mobile"},
		{"Mozilla/5.0 (Linux; Android 9; CUBOT_X19 Build/PPR1)" + chrome + "Mobile Safari/537.36", "", "mobile"},
		{"Mozilla/5.0 (Linux; U; Android 2.3.6; en-us; Nexus One) AppleWebKit/533.1 (KHTML, like Gecko) Version/4.0 Mobile Safari/533.1", "", "mobile"},
		{"Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16", "", "mobile"},
		{"Opera/9.80 (J2ME/MIDP; Opera Mini/9.80 (S60; SymbOS; Opera Mobi/23.348; U; en) Presto/2.5.25 Version/10.54", "", "mobile"},
		{"Opera/12.02 (Android 4.1; Linux; Opera Mobi/ADR-1111101157; U; en-US) Presto/2.9.201 Version/12.02", "", "mobile"},
		{"Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 950)" + chrome + "Mobile Safari/537.36 Edge/15.15254", "", "mobile"},
		{"Mozilla/5.0 (compatible; MSIE 10.0; Windows Phone 8.0; Trident/6.0; IEMobile/10.0; ARM; Touch; NOKIA; Lumia 520)", "", "mobile"},
		{"Mozilla/5.0 (BB10; Touch) AppleWebKit/537.35+ (KHTML, like Gecko) Version/10.3.3.3216 Mobile Safari/537.35+", "", "mobile"},
		{"BlackBerry9700/5.0.0.862 Profile/MIDP-2.1 Configuration/CLDC-1.1 VendorID/331", "", "mobile"},
		{"Mozilla/5.0 (Mobile; Nokia 8110 4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5", "", "mobile"},
		// Tablets.
		{"Mozilla/5.0 (iPad; CPU OS 12_5_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1.2 Mobile/15E148 Safari/604.1", "", "tablet"},
		{"Opera/9.80 (iPad; Opera Mini/7.1.32694/27.1407; U; en) Presto/2.8.119 Version/11.10", "", "tablet"},
		{"Mozilla/5.0 (Linux; Android 10; K)" + chrome + "Safari/537.36", "?0", "tablet"},
		{"Mozilla/5.0 (Linux; Android 13; SM-X906C)" + chrome + "Safari/537.36", "", "tablet"},
		{"Mozilla/5.0 (Linux; Android 4.3; Nexus 7 Build/JSS15Q) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/29.0.1547.72 Safari/537.36", "", "tablet"},
		{"Mozilla/5.0 (Android 13; Tablet; rv:127.0) Gecko/127.0 Firefox/127.0", "", "tablet"},
		{"Mozilla/5.0 (Linux; Android 11; KFTRWI)" + safari + "Silk/108.4.6 like Chrome/108.0.5359.220 Safari/537.36", "", "tablet"},
		{"Mozilla/5.0 (Linux; U; Android 4.0.3; en-us; KFTT Build/IML74K) AppleWebKit/535.19 (KHTML, like Gecko) Silk/3.4 Mobile Safari/535.19 Silk-Accelerated=true", "", "tablet"},
		{"Mozilla/5.0 (X11; U; Linux armv7l like Android; en-us) AppleWebKit/531.2+ (KHTML, like Gecko) Version/5.0 Safari/533.2+ Kindle/3.0+", "", "tablet"},
		{"Mozilla/5.0 (PlayBook; U; RIM Tablet OS 2.1.0; en-US) AppleWebKit/536.2+ (KHTML, like Gecko) Version/7.2.1.0 Safari/536.2+", "", "tablet"},
		// Crawlers and tools, with a part to play and without.
		{"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "", "bot"},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/126.0.0.0 Safari/537.36", "", "bot"},
		{"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P)" + chrome + "Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "", "mobile"},
		{"Googlebot-Image/1.0", "", "bot"},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36", "", "bot"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 Safari/605.1.15 (Applebot/0.1)", "", "desktop"},
		{"Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)", "", "bot"},
		{"Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", "", "bot"},
		{"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "", "bot"},
		{"Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)", "", "bot"},
		{"CCBot/2.0 (https://commoncrawl.org/faq/)", "", "bot"},
		{"curl/8.5.0", "", "bot"},
		{"Wget/1.21.4", "", "bot"},
		{"python-requests/2.31.0", "", "bot"},
		// The hint against the User-Agent, and hints that are none.
		{"Mozilla/5.0 (X11; Linux x86_64)" + chrome + "Safari/537.36", "?1", "mobile"},
		{"Mozilla/5.0 (Linux; Android 10; K)" + chrome + "Mobile Safari/537.36", "?0", "desktop"},
		{"", " ?1\t", "mobile"},
		{"", "1", "desktop"},
		{"", "?10", "desktop"},
		// Any case; any length, of which the first KiB is read.
		{"MOZILLA/5.0 (IPHONE)", "", "mobile"},
		{strings.Repeat("x", 1018) + "iphone", "", "desktop"},
		{strings.Repeat("x ", 509) + "iphone", "", "mobile"},
		{strings.Repeat("x ", 509) + " iphone", "", "desktop"},
		{"\x00\xffiPhone\xff", "", "mobile"},
	} {
		h := http.Header{"User-Agent": {tc.agent}}
		if tc.mobile != "" {
			h["Sec-Ch-Ua-Mobile"] = []string{tc.mobile}
		}
		if got := deviceClass(h); got != tc.want {
			t.Errorf("%q, Sec-CH-UA-Mobile %q: got %s, want %s", tc.agent, tc.mobile, got, tc.want)
		}
	}
	two := http.Header{"Sec-Ch-Ua-Mobile": {"?1", "?0"}}
	if got := deviceClass(two); got != deviceDesktop {
		t.Errorf("two hints: got %s, want %s as with none", got, deviceDesktop)
	}
}

// Not parallel: AllocsPerRun counts what others allocate, too.
func TestDeviceClassAllocatesNothing(t *testing.T) {
	h := http.Header{
		"User-Agent":       {"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36"},
		"Sec-Ch-Ua-Mobile": {"?0"},
	}
	if n := testing.AllocsPerRun(100, func() { deviceClass(h) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func FuzzDeviceClass(f *testing.F) {
	f.Add("Mozilla/5.0 (iPad; CPU OS 12_5_7 like Mac OS X)", "?0")
	f.Add("Tablet PC 2.0 Opera Mini", "")
	f.Add(strings.Repeat("a", 2000), "?1")
	f.Fuzz(func(t *testing.T, agent, mobile string) {
		h := http.Header{"User-Agent": {agent}, "Sec-Ch-Ua-Mobile": {mobile}}
		switch got := deviceClass(h); got {
		case deviceDesktop, deviceMobile, deviceTablet, deviceBot:
		default:
			t.Errorf("%q: class %q is not one of the four", agent, got)
		}
	})
}
