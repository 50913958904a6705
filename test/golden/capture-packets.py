# The traffic of capture-packets.sh (serve, probe), and its capture as JSON (convert).
import json, socket, struct, sys, time


def serve():
    tcp = socket.create_server(('10.2.0.2', 8080))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(('10.2.0.2', 5353))
    connection, _ = tcp.accept()
    connection.sendall(connection.recv(100))
    while True:
        data, peer = udp.recvfrom(65535)
        udp.sendto(data[:1400], peer)


def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def ping(raw, to, ttl=64):
    body = struct.pack('!HH', 7, 1) + bytes(range(48))
    echo = struct.pack('!BBH', 8, 0, checksum(b'\x08\0\0\0' + body)) + body
    raw.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
    raw.sendto(echo, (to, 0))
    time.sleep(0.1)


def probe():
    socket.setdefaulttimeout(5)
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    ping(raw, '10.2.0.2')
    ping(raw, '10.2.0.2', ttl=1)
    ping(raw, '10.2.0.77')
    time.sleep(3.5)
    tcp = socket.create_connection(('10.2.0.2', 8080))
    tcp.sendall(b'hello, tcp')
    tcp.recv(100)
    tcp.close()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_PMTUDISC_DONT: fragments on both sides
    for size in (10, 11, 3000):
        udp.sendto(bytes(i & 255 for i in range(size)), ('10.2.0.2', 5353))
        udp.recv(65535)
    udp.sendto(b'nobody', ('10.2.0.2', 9))
    time.sleep(0.1)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_PMTUDISC_DO: fragmentation needed
    udp.sendto(bytes(1300), ('10.2.0.2', 5353))
    time.sleep(0.1)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK: checksum 0
    udp.sendto(b'no checksum', ('10.2.0.2', 5353))
    udp.recv(65535)


def convert(path):
    data = open(path, 'rb').read()
    at, frames = 24, []
    while at < len(data):
        length, full = struct.unpack('<II', data[at + 8:at + 16])
        frames.append(data[at + 16:at + 16 + length].hex())
        at += 16 + length
    print(json.dumps({'source': 'Linux kernel, recorded by capture-packets.sh', 'frames': frames}, indent=1))


{'serve': serve, 'probe': probe, 'convert': lambda: convert(sys.argv[2])}[sys.argv[1]]()
