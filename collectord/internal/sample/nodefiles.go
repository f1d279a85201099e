package sample

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/clock"
)

// nodeFiles reads the files of which only node_exporter has metrics, and what is in no file.
type nodeFiles struct {
	files    []*nodeFile
	up, time *Series
	uname    *Node
	names    *Series // of uname
	named    time.Time
	timex    []*Series
	kernel   proc.Timex
	refused  bool // kernel's answer
}

// nodeFile is a file of which a kernel may have none.
type nodeFile struct {
	reader *proc.Reader[struct{}]
	add    func(text []byte, out *Batch)
	absent time.Time // when there was none
}

// vmstatKeys and netstatKeys are those that node_exporter takes unless it is told otherwise, the
// last ones of netstatKeys since its version 1.6.
var (
	vmstatKeys  = []string{"oom_kill", "pgpgin", "pgpgout", "pswpin", "pswpout", "pgfault", "pgmajfault"}
	netstatKeys = strings.Fields(`
		Ip_Forwarding IpExt_InOctets IpExt_OutOctets Ip6_InOctets Ip6_OutOctets
		Icmp_InMsgs Icmp_OutMsgs Icmp_InErrors Icmp6_InMsgs Icmp6_OutMsgs Icmp6_InErrors
		Tcp_ActiveOpens Tcp_PassiveOpens Tcp_CurrEstab Tcp_InSegs Tcp_OutSegs Tcp_RetransSegs Tcp_InErrs Tcp_OutRsts
		TcpExt_SyncookiesSent TcpExt_SyncookiesRecv TcpExt_SyncookiesFailed TcpExt_ListenOverflows TcpExt_ListenDrops
		TcpExt_TCPSynRetrans TcpExt_TCPTimeouts TcpExt_TCPOFOQueue TcpExt_TCPRcvQDrop
		Udp_InDatagrams Udp_NoPorts Udp_InErrors Udp_OutDatagrams Udp_RcvbufErrors Udp_SndbufErrors UdpLite_InErrors
		Udp6_InDatagrams Udp6_NoPorts Udp6_InErrors Udp6_OutDatagrams Udp6_RcvbufErrors Udp6_SndbufErrors UdpLite6_InErrors`)
)

// newNodeFiles returns the collector "node_exporter".
func newNodeFiles(fs proc.FS, reg *Registry) *nodeFiles {
	c := &nodeFiles{up: reg.Node.series("up"), uname: reg.node("uname")}
	add := func(group string, reader *proc.Reader[struct{}], make func(n *Node) func([]byte, *Batch)) {
		if n := reg.node(group); n != nil {
			c.files = append(c.files, &nodeFile{reader: reader, add: make(n)})
		}
	}
	add("vmstat", proc.NewLines(fs.ProcPath("vmstat")), addKeys(wanted("node_vmstat_", vmstatKeys)))
	for _, name := range []string{"snmp", "netstat"} {
		add("netstat", proc.NewNetLines(fs, name), addNetstat)
	}
	add("netstat", proc.NewNetLines(fs, "snmp6"), addKeys(func(key string) string { // Ip6InOctets
		return wanted("node_netstat_", netstatKeys)(strings.Replace(key, "6", "6_", 1))
	}))
	for _, name := range []string{"sockstat", "sockstat6"} {
		add("sockstat", proc.NewNetLines(fs, name), addSockstat)
	}
	add("softnet", proc.NewNetLines(fs, "softnet_stat"), addSoftnet)
	add("schedstat", proc.NewLines(fs.ProcPath("schedstat")), addSchedstat)
	for _, f := range []struct{ group, path, names string }{
		{"filefd", "sys/fs/file-nr", "node_filefd_allocated - node_filefd_maximum"},
		{"entropy", "sys/kernel/random/entropy_avail", "node_entropy_available_bits"},
		{"entropy", "sys/kernel/random/poolsize", "node_entropy_pool_size_bits"},
		{"conntrack", "sys/net/netfilter/nf_conntrack_count", "node_nf_conntrack_entries"},
		{"conntrack", "sys/net/netfilter/nf_conntrack_max", "node_nf_conntrack_entries_limit"},
	} {
		add(f.group, proc.NewLines(fs.ProcPath(f.path)), addNumbers(f.names))
	}
	if n := reg.node("time"); n != nil {
		c.time = n.series("node_time_seconds")
	}
	if n := reg.node("timex"); n != nil {
		for _, name := range proc.TimexNames {
			c.timex = append(c.timex, n.series("node_timex_"+name))
		}
	}
	return c
}

// Name implements Collector.
func (c *nodeFiles) Name() string { return "node_exporter" }

// Collect implements Collector.
func (c *nodeFiles) Collect(at time.Time, out *Batch) error {
	out.Add(c.up, 1)
	if c.time != nil {
		out.Add(c.time, float64(at.UnixNano())/1e9)
	}
	c.addUname(at, out)
	c.addTimex(out)
	for _, f := range c.files {
		if !f.absent.IsZero() && at.Sub(f.absent) < relistInterval {
			continue
		}
		f.absent = time.Time{}
		switch _, err := f.reader.Read(); {
		case err == nil:
			f.add(f.reader.Text(), out)
		case errors.Is(err, proc.ErrNotSupported), errors.Is(err, os.ErrPermission):
			f.absent = at
		default:
			out.Fail(err)
		}
	}
	return nil
}

// addUname looks once a minute whether the names are others: of these a host name can be set.
func (c *nodeFiles) addUname(at time.Time, out *Batch) {
	if c.uname == nil {
		return
	}
	if c.names == nil || at.Sub(c.named) >= relistInterval {
		names, err := proc.Uname()
		if err != nil {
			out.Fail(err, "uname")
			return
		}
		c.names, c.named = c.uname.series("node_uname_info", names...), at
	}
	out.Add(c.names, 1)
}

// addTimex adds how the kernel keeps its clock. Where that is forbidden, only whether it is right
// is known.
func (c *nodeFiles) addTimex(out *Batch) {
	if len(c.timex) == 0 {
		return
	}
	if !c.refused {
		values, err := c.kernel.Read()
		c.refused = err != nil
		for i, s := range c.timex {
			if err == nil {
				out.Add(s, values[i])
			}
		}
	}
	if c.refused {
		if s := clock.Synchronised(); s != clock.Unknown {
			out.Add(c.timex[0], flag(s == clock.Yes))
		}
	}
}

// addNumbers takes a file that is one line of numbers; "-" is the name of one that is not wanted.
func addNumbers(names string) func(*Node) func([]byte, *Batch) {
	return func(n *Node) func([]byte, *Batch) {
		var series []*Series
		for name := range strings.FieldsSeq(names) {
			series = append(series, n.series(name))
			if name == "-" {
				series[len(series)-1] = nil
			}
		}
		return func(line []byte, out *Batch) {
			line, _ = proc.NextLine(line)
			for _, s := range series {
				var field []byte
				if field, line = proc.NextField(line); s != nil {
					out.addField(s, field)
				}
			}
		}
	}
}

// wanted returns the metric of each key that is in a list.
func wanted(prefix string, list []string) func(key string) string {
	return func(key string) string {
		if slices.Contains(list, key) {
			return prefix + key
		}
		return ""
	}
}

// addKeys takes lines such as "pgfault 123"; name gives the metric of a key.
func addKeys(name func(key string) string) func(*Node) func([]byte, *Batch) {
	return func(n *Node) func([]byte, *Batch) {
		keys := n.keys(name)
		return func(text []byte, out *Batch) {
			for len(text) > 0 {
				var line []byte
				line, text = proc.NextLine(text)
				key, rest := proc.NextField(line)
				keys.add(key, rest, out)
			}
		}
	}
}

// addNetstat takes pairs of lines such as "Udp: InDatagrams NoPorts" and "Udp: 1 0".
func addNetstat(n *Node) func([]byte, *Batch) {
	keys := n.keys(wanted("node_netstat_", netstatKeys))
	var key []byte
	return func(text []byte, out *Batch) {
		for len(text) > 0 {
			var names, line []byte
			names, text = proc.NextLine(text)
			line, text = proc.NextLine(text)
			protocol, names := proc.NextField(names)
			again, line := proc.NextField(line)
			if !bytes.Equal(protocol, again) {
				return
			}
			key = append(append(key[:0], bytes.TrimSuffix(protocol, []byte{':'})...), '_')
			for prefix := len(key); ; {
				var name []byte
				if name, names = proc.NextField(names); len(name) == 0 {
					break
				}
				key = append(key[:prefix], name...)
				keys.add(key, line, out)
				_, line = proc.NextField(line)
			}
		}
	}
}

// addSockstat takes lines such as "TCP: inuse 4 orphan 0". Memory is in pages, and for
// node_exporter in bytes also.
func addSockstat(n *Node) func([]byte, *Batch) {
	keys := n.keys(func(key string) string { return "node_sockstat_" + key })
	page := float64(os.Getpagesize())
	var key []byte
	return func(text []byte, out *Batch) {
		for len(text) > 0 {
			var line []byte
			line, text = proc.NextLine(text)
			protocol, line := proc.NextField(line)
			key = append(append(key[:0], bytes.TrimSuffix(protocol, []byte{':'})...), '_')
			for prefix := len(key); ; {
				var name []byte
				if name, line = proc.NextField(line); len(name) == 0 {
					break
				}
				key = append(key[:prefix], name...)
				keys.add(key, line, out)
				if string(name) == "mem" {
					key = append(key, "_bytes"...)
					s := keys.of(key)
					s.per = 1 / page
					keys.add(key, line, out)
				}
				_, line = proc.NextField(line)
			}
		}
	}
}

// perCPU are the series of each processor.
type perCPU struct {
	node *Node
	list []nodeColumn
	cpus map[string][]*Series // by number
}

func (p *perCPU) of(number []byte) []*Series {
	series := p.cpus[string(number)]
	if series == nil {
		series = p.node.columns(p.list, "cpu", string(number))
		p.cpus[string(number)] = series
	}
	return series
}

// softnetColumns are hexadecimal numbers, one line for each processor that is online.
var softnetColumns = []nodeColumn{{"node_softnet_processed_total", 1}, {"node_softnet_dropped_total", 1}, {"node_softnet_times_squeezed_total", 1}}

// softnetCPU is the column with the number of the processor, since Linux 5.10; before, it is that
// of the line.
const softnetCPU = 12

func addSoftnet(n *Node) func([]byte, *Batch) {
	cpus := &perCPU{n, softnetColumns, map[string][]*Series{}}
	var number []byte
	return func(text []byte, out *Batch) {
		for i := int64(0); len(text) > 0; i++ {
			var line []byte
			line, text = proc.NextLine(text)
			var values [softnetCPU + 1]uint64
			count := 0
			for ; count < len(values); count++ {
				var field []byte
				if field, line = proc.NextField(line); len(field) == 0 {
					break
				}
				v, err := strconv.ParseUint(string(field), 16, 32)
				if err != nil {
					out.Fail(err, "softnet_stat")
					return
				}
				values[count] = v
			}
			id := i
			if count > softnetCPU {
				id = int64(values[softnetCPU])
			}
			number = strconv.AppendInt(number[:0], id, 10)
			for j, s := range cpus.of(number) {
				out.Add(s, float64(values[j]))
			}
		}
	}
}

// addSchedstat takes the last three numbers of lines such as "cpu0 0 0 0 0 0 0 1 2 3": nanoseconds
// on the processor, nanoseconds of waiting for it, and time slices.
func addSchedstat(n *Node) func([]byte, *Batch) {
	cpus := &perCPU{n, []nodeColumn{
		{"node_schedstat_running_seconds_total", 1e9}, {"node_schedstat_waiting_seconds_total", 1e9}, {"node_schedstat_timeslices_total", 1},
	}, map[string][]*Series{}}
	return func(text []byte, out *Batch) {
		for len(text) > 0 {
			var line []byte
			line, text = proc.NextLine(text)
			key, line := proc.NextField(line)
			number, isCPU := bytes.CutPrefix(key, []byte("cpu"))
			if !isCPU {
				continue
			}
			for range 6 {
				_, line = proc.NextField(line)
			}
			out.addColumns(cpus.of(number), line)
		}
	}
}
