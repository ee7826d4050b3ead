// A window on one kernel record (native/record.h) inside a drain buffer, and the check that its lengths add up.

import {
  EXEC,
  EXIT,
  FILE,
  HEAD,
  IO_URING,
  KT_FILE_CHMOD,
  KT_FILE_CLOSE,
  KT_FILE_OPEN,
  KT_FILE_RENAME,
  KT_FILE_UNLINK,
  KT_PATH_NONE,
  KT_PROCESS_EXEC,
  KT_PROCESS_EXIT,
  KT_PROCESS_IMAGE,
  KT_PROCESS_IO_URING,
  KT_RECORD_MAX,
  KT_RECORD_VERSION,
  KT_SOCKET_ACCEPT,
  KT_SOCKET_CLOSE,
  KT_SOCKET_CONNECT,
  KT_SOCKET_LISTEN,
  PATH,
  SOCKET,
} from '../kernel/layout.gen.ts';

/** Why a record was refused; indexes REFUSAL_REASONS. 0: it was not. */
export const REFUSED_SHORT = 1;
export const REFUSED_VERSION = 2;
export const REFUSED_KIND = 3;
export const REFUSED_LENGTH = 4;
export const REFUSED_PATH = 5;
export const REFUSED_TOO_BIG = 6;

/** Names for the ledger (kerntap.loss, stage `decode`). */
export const REFUSAL_REASONS = ['', 'short', 'version', 'kind', 'length', 'path', 'too_big'] as const;

interface Views {
  source: Uint8Array;
  bytes: Uint8Array;
  words: Int32Array;
  view: DataView;
  base: number;
}

/** Drain buffer, hold buffer, and room for two more before a view is made again. */
const VIEWS_KEPT = 4;

const viewsOn = (source: Uint8Array): Views => {
  const whole = source.buffer;
  return {
    source,
    bytes: new Uint8Array(whole),
    words: new Int32Array(whole, 0, whole.byteLength >>> 2),
    view: new DataView(whole),
    base: source.byteOffset,
  };
};

/**
 * One object, moved over record after record. `bytes`, `words` and `view` span the whole underlying buffer: `word` and `start`
 * are the head's index in each. Words are signed bit patterns.
 */
export class RecordWindow {
  bytes: Uint8Array;
  words: Int32Array;
  view: DataView;
  start = 0;
  word = 0;
  len = 0;
  kind = 0;
  private current: Views;
  private readonly kept: Views[] = [];
  private turn = 0;
  private readonly bounce: Views;

  constructor() {
    this.bounce = viewsOn(new Uint8Array(KT_RECORD_MAX));
    this.current = this.bounce;
    this.bytes = this.bounce.bytes;
    this.words = this.bounce.words;
    this.view = this.bounce.view;
  }

  /**
   * Moves to the record at buf[offset..] and checks it: version, a kind that the wire knows, lengths that add up, path
   * components that add up. Returns 0 or REFUSED_*; after 0 every byte that the lengths name can be read.
   */
  open(buf: Uint8Array, offset: number): number {
    this.kind = 0;
    if (!(offset >= 0 && offset + HEAD.SIZE <= buf.length)) return REFUSED_SHORT;
    if (buf !== this.current.source) this.switchTo(buf);
    this.start = this.current.base + offset;
    if ((this.start & 3) !== 0) this.copyAligned(buf, offset);
    this.word = this.start >>> 2;
    const { words, word } = this;
    this.len = words[word] as number;
    const versions = words[word + 1] as number;
    if ((versions & 0xff) !== KT_RECORD_VERSION) return REFUSED_VERSION;
    if (this.len < HEAD.SIZE || this.len > KT_RECORD_MAX || offset + this.len > buf.length) return REFUSED_SHORT;
    this.kind = (versions >>> 8) & 0xff;
    return this.checkBody();
  }

  private checkBody(): number {
    switch (this.kind) {
      case KT_FILE_OPEN:
      case KT_FILE_CLOSE:
      case KT_FILE_RENAME:
      case KT_FILE_UNLINK:
      case KT_FILE_CHMOD:
        return this.checkFile();
      case KT_SOCKET_CONNECT:
      case KT_SOCKET_ACCEPT:
      case KT_SOCKET_LISTEN:
      case KT_SOCKET_CLOSE:
        return this.checkSocket();
      case KT_PROCESS_EXEC:
      case KT_PROCESS_IMAGE:
        return this.checkExec();
      case KT_PROCESS_EXIT:
        return this.len === HEAD.SIZE + EXIT.SIZE ? 0 : REFUSED_LENGTH;
      case KT_PROCESS_IO_URING:
        return this.len === HEAD.SIZE + IO_URING.SIZE ? 0 : REFUSED_LENGTH;
      default:
        return REFUSED_KIND;
    }
  }

  private checkFile(): number {
    const at = HEAD.SIZE + FILE.SIZE;
    if (this.len < at) return REFUSED_LENGTH;
    const path = this.pathLength(HEAD.SIZE + FILE.path);
    const path2 = this.pathLength(HEAD.SIZE + FILE.path2);
    const asked = this.u16(HEAD.SIZE + FILE.asked_len);
    if (at + path + path2 + asked !== this.len) return REFUSED_LENGTH;
    if (!this.pathAddsUp(HEAD.SIZE + FILE.path, at)) return REFUSED_PATH;
    return this.pathAddsUp(HEAD.SIZE + FILE.path2, at + path) ? 0 : REFUSED_PATH;
  }

  private checkSocket(): number {
    const at = HEAD.SIZE + SOCKET.SIZE;
    if (this.len < at) return REFUSED_LENGTH;
    const path = this.pathLength(HEAD.SIZE + SOCKET.path);
    if (at + path + this.u16(HEAD.SIZE + SOCKET.name_len) !== this.len) return REFUSED_LENGTH;
    return this.pathAddsUp(HEAD.SIZE + SOCKET.path, at) ? 0 : REFUSED_PATH;
  }

  private checkExec(): number {
    const at = HEAD.SIZE + EXEC.SIZE;
    if (this.len < at) return REFUSED_LENGTH;
    const exe = this.pathLength(HEAD.SIZE + EXEC.exe);
    const cwd = this.pathLength(HEAD.SIZE + EXEC.cwd);
    const strings =
      this.u16(HEAD.SIZE + EXEC.filename_len) +
      this.u16(HEAD.SIZE + EXEC.interp_len) +
      this.u16(HEAD.SIZE + EXEC.tty_len);
    // >>> 0: a length with its top bit set must not pull the sum down.
    const blocks = (this.i32(HEAD.SIZE + EXEC.argv_len) >>> 0) + (this.i32(HEAD.SIZE + EXEC.env_len) >>> 0);
    if (at + exe + cwd + strings + blocks !== this.len) return REFUSED_LENGTH;
    if (!this.pathAddsUp(HEAD.SIZE + EXEC.exe, at)) return REFUSED_PATH;
    return this.pathAddsUp(HEAD.SIZE + EXEC.cwd, at + exe) ? 0 : REFUSED_PATH;
  }

  /** 32 bits at a byte offset into the record that is a multiple of 4, as a signed pattern. */
  i32(offset: number): number {
    return this.words[this.word + (offset >>> 2)] as number;
  }

  /** 16 bits at an even byte offset into the record. */
  u16(offset: number): number {
    return ((this.words[this.word + (offset >>> 2)] as number) >>> ((offset & 2) << 3)) & 0xffff;
  }

  /** The byte at an offset into the record. */
  u8(offset: number): number {
    return this.bytes[this.start + offset] as number;
  }

  /** Bytes that the struct kt_path at `offset` says follow. */
  pathLength(offset: number): number {
    const lengths = this.i32(offset);
    return (lengths & 0xffff) + (lengths >>> 16);
  }

  /** Do the components at `from` fill comps_len exactly, each of one byte at least? */
  private pathAddsUp(offset: number, from: number): boolean {
    const lengths = this.i32(offset);
    if (this.u8(offset + PATH.source) === KT_PATH_NONE) return lengths === 0;
    let left = lengths & 0xffff;
    let at = this.start + from;
    while (left > 0) {
      const component = this.bytes[at] as number;
      if (component === 0) return false;
      at += component + 1;
      left -= component + 1;
    }
    return left === 0;
  }

  private switchTo(buf: Uint8Array): void {
    for (const views of this.kept) {
      if (views.source === buf) {
        this.use(views);
        return;
      }
    }
    const views = viewsOn(buf);
    this.kept[this.turn] = views;
    this.turn = (this.turn + 1) % VIEWS_KEPT;
    this.use(views);
  }

  private use(views: Views): void {
    this.current = views;
    this.bytes = views.bytes;
    this.words = views.words;
    this.view = views.view;
  }

  /** The drain aligns records to 8 bytes; one that is not (a test, a foreign buffer) is read from a copy. */
  private copyAligned(buf: Uint8Array, offset: number): void {
    this.bounce.bytes.set(buf.subarray(offset, Math.min(buf.length, offset + KT_RECORD_MAX)));
    this.use(this.bounce);
    this.start = 0;
  }
}
