import { names } from "./names.ts";

/** System V IPC: names of flags and values, in the order in which strace prints them. */
export const IPC = {
  shm_get: names("SHM_???", {
    IPC_CREAT: 0x200,
    IPC_EXCL: 0x400,
    SHM_HUGETLB: 0x800,
    SHM_NORESERVE: 0x1000,
  }),
  sem_get: names("IPC_???", {
    IPC_CREAT: 0x200,
    IPC_EXCL: 0x400,
    IPC_NOWAIT: 0x800,
  }),
  shm_at: names("SHM_???", {
    SHM_RDONLY: 0x1000,
    SHM_RND: 0x2000,
    SHM_REMAP: 0x4000,
    SHM_EXEC: 0x8000,
  }),
  shmctl: names("SHM_???", {
    IPC_RMID: 0,
    IPC_SET: 1,
    IPC_STAT: 2,
    IPC_INFO: 3,
    SHM_LOCK: 0xb,
    SHM_UNLOCK: 0xc,
    SHM_STAT: 0xd,
    SHM_INFO: 0xe,
    SHM_STAT_ANY: 0xf,
  }),
  semctl: names("SEM_???", {
    IPC_RMID: 0,
    IPC_SET: 1,
    IPC_STAT: 2,
    IPC_INFO: 3,
    GETPID: 0xb,
    GETVAL: 0xc,
    GETALL: 0xd,
    GETNCNT: 0xe,
    GETZCNT: 0xf,
    SETVAL: 0x10,
    SETALL: 0x11,
    SEM_STAT: 0x12,
    SEM_INFO: 0x13,
    SEM_STAT_ANY: 0x14,
  }),
  msgctl: names("MSG_???", {
    IPC_RMID: 0,
    IPC_SET: 1,
    IPC_STAT: 2,
    IPC_INFO: 3,
    MSG_STAT: 0xb,
    MSG_INFO: 0xc,
    MSG_STAT_ANY: 0xd,
  }),
  ipc_msg: names("MSG_???", {
    MSG_NOERROR: 0x1000,
    MSG_EXCEPT: 0x2000,
    MSG_COPY: 0x4000,
    IPC_NOWAIT: 0x800,
  }),
  semop: names("SEM_???", {
    SEM_UNDO: 0x1000,
    IPC_NOWAIT: 0x800,
  }),
};
