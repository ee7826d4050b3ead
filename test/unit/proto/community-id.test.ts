import { describe, expect, test } from 'vitest';
import { communityId, socketCommunityId } from '../../../proto/community-id.ts';

type Vector = readonly [
  protocol: number,
  source: string,
  destination: string,
  sourcePort: number,
  destinationPort: number,
  seed0: string,
  seed1: string,
  hex: string,
];

// From the specification, github.com/corelight/community-id-spec, baseline/baseline_{deflt,seed1,nob64}.json: every tuple.
// Ports of ICMP are type and answering type or code; RSVP (46) has none. `hex` is seed 0's without base64.
const BASELINE: readonly Vector[] = [
  [
    58,
    'fe80::200:86ff:fe05:80da',
    'fe80::260:97ff:fe07:69ea',
    135,
    136,
    '1:dGHyGvjMfljg6Bppwm3bg0LO8TY=',
    '1:kHa1FhMYIT6Ym2Vm2AOtoOARDzY=',
    '1:7461f21af8cc7e58e0e81a69c26ddb8342cef136',
  ],
  [
    58,
    'fe80::260:97ff:fe07:69ea',
    'fe80::200:86ff:fe05:80da',
    136,
    135,
    '1:dGHyGvjMfljg6Bppwm3bg0LO8TY=',
    '1:kHa1FhMYIT6Ym2Vm2AOtoOARDzY=',
    '1:7461f21af8cc7e58e0e81a69c26ddb8342cef136',
  ],
  [
    58,
    'fe80::260:97ff:fe07:69ea',
    'fe80::200:86ff:fe05:80da',
    135,
    136,
    '1:zavyT/cezQr1fmImYCwYnMXbgck=',
    '1:2hSqmsDZ2kdcY9kbiUzOEBic0iM=',
    '1:cdabf24ff71ecd0af57e6226602c189cc5db81c9',
  ],
  [
    58,
    'fe80::200:86ff:fe05:80da',
    'fe80::260:97ff:fe07:69ea',
    136,
    135,
    '1:zavyT/cezQr1fmImYCwYnMXbgck=',
    '1:2hSqmsDZ2kdcY9kbiUzOEBic0iM=',
    '1:cdabf24ff71ecd0af57e6226602c189cc5db81c9',
  ],
  [
    58,
    '3ffe:501:1800:2345::2',
    '3ffe:507:0:1:200:86ff:fe05:80da',
    3,
    0,
    '1:2ObVBgIn28oZvibYZhZMBgh7WdQ=',
    '1:lVEtCZpYu84Xqaa++3lXFyuu2n4=',
    '1:d8e6d5060227dbca19be26d866164c06087b59d4',
  ],
  [
    58,
    '3ffe:501:410:0:2c0:dfff:fe47:33e',
    '3ffe:507:0:1:200:86ff:fe05:80da',
    1,
    4,
    '1:hLZd0XGWojozrvxqE0dWB1iM6R0=',
    '1:W8MHwXpWzpoSTD+cGcaJr4u0ys8=',
    '1:84b65dd17196a23a33aefc6a13475607588ce91d',
  ],
  [
    58,
    '3ffe:507:0:1:200:86ff:fe05:80da',
    '3ffe:501:0:1001::2',
    128,
    129,
    '1:+TW+HtLHvV1xnGhV1lv7XoJrqQg=',
    '1:GfZxjAkDk2MkegpBYHV6tadtFXQ=',
    '1:f935be1ed2c7bd5d719c6855d65bfb5e826ba908',
  ],
  [
    58,
    '3ffe:501:0:1001::2',
    '3ffe:507:0:1:200:86ff:fe05:80da',
    129,
    128,
    '1:+TW+HtLHvV1xnGhV1lv7XoJrqQg=',
    '1:GfZxjAkDk2MkegpBYHV6tadtFXQ=',
    '1:f935be1ed2c7bd5d719c6855d65bfb5e826ba908',
  ],
  [
    58,
    'fe80::200:86ff:fe05:80da',
    'ff02::2',
    133,
    134,
    '1:hO+sN4H+MG5MY/8hIrXPqc4ZQz0=',
    '1:L7Ka0ZMYu+J3bL4ulW2PrqyXNo8=',
    '1:84efac3781fe306e4c63ff2122b5cfa9ce19433d',
  ],
  [
    58,
    'fe80::260:97ff:fe07:69ea',
    'ff02::1',
    134,
    133,
    '1:pkvHqCL88/tg1k4cPigmZXUtL00=',
    '1:K/ee5UCqAMAQXDorP5nSa2CGLjc=',
    '1:a64bc7a822fcf3fb60d64e1c3e282665752d2f4d',
  ],
  [
    1,
    '192.168.0.89',
    '192.168.0.1',
    8,
    0,
    '1:X0snYXpgwiv9TZtqg64sgzUn6Dk=',
    '1:03g6IloqVBdcZlPyX8r0hgoE7kA=',
    '1:5f4b27617a60c22bfd4d9b6a83ae2c833527e839',
  ],
  [
    1,
    '192.168.0.1',
    '192.168.0.89',
    0,
    8,
    '1:X0snYXpgwiv9TZtqg64sgzUn6Dk=',
    '1:03g6IloqVBdcZlPyX8r0hgoE7kA=',
    '1:5f4b27617a60c22bfd4d9b6a83ae2c833527e839',
  ],
  [
    1,
    '10.0.0.1',
    '10.0.0.2',
    11,
    0,
    '1:YHxtAirCG//0OzkcVAukqKQN9xM=',
    '1:XjUibYHaafLQ3pxQeiMI8g25q20=',
    '1:607c6d022ac21bfff43b391c540ba4a8a40df713',
  ],
  [
    6,
    '2001:470:e5bf:dead:4957:2174:e82c:4887',
    '2607:f8b0:400c:c03::1a',
    63943,
    25,
    '1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=',
    '1:eJYTW6AOzFLlSUoESovMjnu7rMw=',
    '1:fea15a78047e8057b52988cccd50ec32ffb0814e',
  ],
  [
    6,
    '2607:f8b0:400c:c03::1a',
    '2001:470:e5bf:dead:4957:2174:e82c:4887',
    25,
    63943,
    '1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=',
    '1:eJYTW6AOzFLlSUoESovMjnu7rMw=',
    '1:fea15a78047e8057b52988cccd50ec32ffb0814e',
  ],
  [
    132,
    '192.168.170.8',
    '192.168.170.56',
    7,
    7,
    '1:MP2EtRCAUIZvTw6MxJHLV7N7JDs=',
    '1:5w3ZRjeKBzqT3zsaEECDGjUbYeg=',
    '1:30fd84b5108050866f4f0e8cc491cb57b37b243b',
  ],
  [
    132,
    '192.168.170.56',
    '192.168.170.8',
    7,
    7,
    '1:MP2EtRCAUIZvTw6MxJHLV7N7JDs=',
    '1:5w3ZRjeKBzqT3zsaEECDGjUbYeg=',
    '1:30fd84b5108050866f4f0e8cc491cb57b37b243b',
  ],
  [
    6,
    '128.232.110.120',
    '66.35.250.204',
    34855,
    80,
    '1:LQU9qZlK+B5F3KDmev6m5PMibrg=',
    '1:3V71V58M3Ksw/yuFALMcW0LAHvc=',
    '1:2d053da9994af81e45dca0e67afea6e4f3226eb8',
  ],
  [
    6,
    '66.35.250.204',
    '128.232.110.120',
    80,
    34855,
    '1:LQU9qZlK+B5F3KDmev6m5PMibrg=',
    '1:3V71V58M3Ksw/yuFALMcW0LAHvc=',
    '1:2d053da9994af81e45dca0e67afea6e4f3226eb8',
  ],
  [
    17,
    '192.168.1.52',
    '8.8.8.8',
    54585,
    53,
    '1:d/FP5EW3wiY1vCndhwleRRKHowQ=',
    '1:Q9We8WO3piVF8yEQBNJF4uiSVrI=',
    '1:77f14fe445b7c22635bc29dd87095e451287a304',
  ],
  [
    17,
    '8.8.8.8',
    '192.168.1.52',
    53,
    54585,
    '1:d/FP5EW3wiY1vCndhwleRRKHowQ=',
    '1:Q9We8WO3piVF8yEQBNJF4uiSVrI=',
    '1:77f14fe445b7c22635bc29dd87095e451287a304',
  ],
  [
    46,
    '10.1.12.1',
    '10.1.12.2',
    0,
    0,
    '1:KHlLkgoJW7ifUTyTSgyVfkFHzKw=',
    '1:rYir8gphR31noO9iDRQmF/BteEI=',
    '1:28794b920a095bb89f513c934a0c957e4147ccac',
  ],
  [
    46,
    '10.1.12.2',
    '10.1.12.1',
    0,
    0,
    '1:KHlLkgoJW7ifUTyTSgyVfkFHzKw=',
    '1:rYir8gphR31noO9iDRQmF/BteEI=',
    '1:28794b920a095bb89f513c934a0c957e4147ccac',
  ],
];

// The same, baseline/README.md: ICMP with the code as a packet has it, and port-less over IPv6.
const TABLE: readonly (readonly [number, string, string, number, number, string, string])[] = [
  [6, '1.2.3.4', '5.6.7.8', 1122, 3344, '1:wCb3OG7yAFWelaUydu0D+125CLM=', '1:HhA1B+6CoLbiKPEs5nhNYN4XWfk='],
  [6, '5.6.7.8', '1.2.3.4', 3344, 1122, '1:wCb3OG7yAFWelaUydu0D+125CLM=', '1:HhA1B+6CoLbiKPEs5nhNYN4XWfk='],
  [17, '1.2.3.4', '5.6.7.8', 1122, 3344, '1:0Mu9InQx6z4ZiCZM/7HXi2WMhOg=', '1:OShq+iKDAMVouh/4bMxB9Sz4amw='],
  [17, '5.6.7.8', '1.2.3.4', 3344, 1122, '1:0Mu9InQx6z4ZiCZM/7HXi2WMhOg=', '1:OShq+iKDAMVouh/4bMxB9Sz4amw='],
  [132, '1.2.3.4', '5.6.7.8', 1122, 3344, '1:EKt4MsxuyaE6mL+hmrEkQ9csDD8=', '1:uitchpn5MMGAQKBJh7bIr/bAr7s='],
  [132, '5.6.7.8', '1.2.3.4', 3344, 1122, '1:EKt4MsxuyaE6mL+hmrEkQ9csDD8=', '1:uitchpn5MMGAQKBJh7bIr/bAr7s='],
  [1, '1.2.3.4', '5.6.7.8', 8, 0, '1:crodRHL2FEsHjbv3UkRrfbs4bZ0=', '1:9pr4ZGTICiuZoIh90RRYE2RyXpU='],
  [1, '5.6.7.8', '1.2.3.4', 0, 0, '1:crodRHL2FEsHjbv3UkRrfbs4bZ0=', '1:9pr4ZGTICiuZoIh90RRYE2RyXpU='],
  [1, '1.2.3.4', '5.6.7.8', 11, 0, '1:f/YiSyWqczrTgfUCZlBUnvHRcPk=', '1:1DD7cWGC/Yg91YGsQeni8du3pIA='],
  [
    58,
    'fe80:0001:0203:0405:0607:0809:0a0b:0c0d',
    'fe80:1011:1213:1415:1617:1819:1a1b:1c1d',
    128,
    0,
    '1:0bf7hyMJUwt3fMED7z8LIfRpBeo=',
    '1:IO27GQzPuCtNnwFvjWALMHu5tJE=',
  ],
  [
    58,
    'fe80:1011:1213:1415:1617:1819:1a1b:1c1d',
    'fe80:0001:0203:0405:0607:0809:0a0b:0c0d',
    129,
    0,
    '1:0bf7hyMJUwt3fMED7z8LIfRpBeo=',
    '1:IO27GQzPuCtNnwFvjWALMHu5tJE=',
  ],
  [
    58,
    'fe80:0001:0203:0405:0607:0809:0a0b:0c0d',
    'fe80:1011:1213:1415:1617:1819:1a1b:1c1d',
    146,
    0,
    '1:fYC8+pz24E+EhANP1EZhpX0Dw10=',
    '1:Cv4IKJe56BNkF0MBW2YxQ3Nwc3s=',
  ],
  [46, '1.2.3.4', '5.6.7.8', 0, 0, '1:ikv3kmf89luf73WPz1jOs49S768=', '1:/buhqeOmaRCopOZFy9HnoJd5XW8='],
  [46, '5.6.7.8', '1.2.3.4', 0, 0, '1:ikv3kmf89luf73WPz1jOs49S768=', '1:/buhqeOmaRCopOZFy9HnoJd5XW8='],
  [
    46,
    'fe80:0001:0203:0405:0607:0809:0a0b:0c0d',
    'fe80:1011:1213:1415:1617:1819:1a1b:1c1d',
    0,
    0,
    '1:wQ/2mwrnXP4lmJcHdGL5ePjR+e0=',
    '1:j6EyyfBzL4vWKHFXgUqb5Az3OxM=',
  ],
  [
    46,
    'fe80:1011:1213:1415:1617:1819:1a1b:1c1d',
    'fe80:0001:0203:0405:0607:0809:0a0b:0c0d',
    0,
    0,
    '1:wQ/2mwrnXP4lmJcHdGL5ePjR+e0=',
    '1:j6EyyfBzL4vWKHFXgUqb5Az3OxM=',
  ],
];

/** Bytes of an address, by no code of the project. */
function bytesOf(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail] = address.split('::');
  const groups = (text: string | undefined) => (text ? text.split(':') : []);
  const zeros = 8 - groups(head).length - groups(tail).length;
  const all = tail === undefined ? groups(head) : [...groups(head), ...Array(zeros).fill('0'), ...groups(tail)];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

const end = (address: string, port: number) => ({ ip: bytesOf(address), port });
const mapped = (address: string, port: number) => ({
  ip: Buffer.concat([Buffer.from('00000000000000000000ffff', 'hex'), bytesOf(address)]),
  port,
});

describe('the Community ID of a flow', () => {
  test.each(BASELINE)(
    'of protocol %i, %s to %s, ports %i and %i is as published',
    (protocol, from, to, a, b, ...ids) => {
      const [seed0, seed1, hex] = ids;
      expect(communityId(protocol, end(from, a), end(to, b), 0)).toBe(seed0);
      expect(communityId(protocol, end(from, a), end(to, b), 1)).toBe(seed1);
      expect(Buffer.from(seed0.slice(2), 'base64').toString('hex')).toBe(hex.slice(2));
    },
  );

  test.each(TABLE)('of protocol %i, %s to %s, %i and %i is as tabled', (protocol, from, to, a, b, seed0, seed1) => {
    expect(communityId(protocol, end(from, a), end(to, b), 0)).toBe(seed0);
    expect(communityId(protocol, end(from, a), end(to, b), 1)).toBe(seed1);
  });
});

describe('the Community ID of a socket', () => {
  const [, client, server, clientPort, serverPort, published] = BASELINE.find(
    ([protocol, , , , port]) => protocol === 6 && port === 80,
  ) as Vector;

  test('is the same at both ends', () => {
    expect(socketCommunityId(6, end(client, clientPort), end(server, serverPort), 0)).toBe(published);
    expect(socketCommunityId(6, end(server, serverPort), end(client, clientPort), 0)).toBe(published);
  });

  test('is that of IPv4 where a v6 socket speaks it, at one end or both', () => {
    expect(socketCommunityId(6, mapped(client, clientPort), mapped(server, serverPort), 0)).toBe(published);
    expect(socketCommunityId(6, mapped(client, clientPort), end(server, serverPort), 0)).toBe(published);
  });

  test('of MPTCP is that of the TCP that travels', () => {
    expect(socketCommunityId(262, end(client, clientPort), end(server, serverPort), 0)).toBe(published);
  });

  test('of an ICMP socket is that of an echo request, whatever its id', () => {
    const icmp = TABLE.find((row) => row[0] === 1 && row[3] === 8);
    expect(socketCommunityId(1, end(icmp?.[1] ?? '', 4711), end(icmp?.[2] ?? '', 0), 0)).toBe(icmp?.[5]);
    const icmp6 = TABLE.find((row) => row[0] === 58 && row[3] === 128);
    expect(socketCommunityId(58, end(icmp6?.[1] ?? '', 4711), end(icmp6?.[2] ?? '', 0), 0)).toBe(icmp6?.[5]);
  });

  test.each([
    ['no peer', 6, end(client, 1), null],
    ['no local address', 6, null, end(server, 80)],
    ['an empty address', 6, { ip: Buffer.alloc(0), port: 1 }, end(server, 80)],
    ['a local address that is not chosen yet', 6, end('0.0.0.0', 40000), end(server, 80)],
    ['a local port that is not chosen yet', 6, end(client, 0), end(server, 80)],
    ['no port of the peer', 17, end(client, 5), end(server, 0)],
    ['addresses of two families', 6, end(client, 1), end('2001:db8::1', 80)],
    ['no protocol', 0, end(client, 1), end(server, 80)],
    ['a protocol that no IP header can name', 256, end(client, 1), end(server, 80)],
  ])('is not known with %s', (_, protocol, local, remote) => {
    expect(socketCommunityId(protocol, local, remote, 0)).toBeNull();
  });
});
