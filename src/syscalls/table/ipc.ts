import type { Rows } from "../row.ts";

/** System V and POSIX inter-process communication. */
export const IPC = {
  shmget: "key:ipckey size:ulong shmflg:ipcflags(shm_get)",
  shmat: "shmid:int shmaddr:pointer shmflg:flags(shm_at) = pointer",
  shmdt: "shmaddr:pointer",
  shmctl: "shmid:int cmd:ipccmd(shmctl) buf:pointer",
  semget: "key:ipckey nsems:int semflg:ipcflags(sem_get)",
  semop: "semid:int sops:<sembuf[nsops] nsops:uint",
  semtimedop: "semid:int sops:<sembuf[nsops] nsops:uint timeout:<timespec",
  semctl: "semid:int semnum:int cmd:ipccmd(semctl) arg:pointer",
  msgget: "key:ipckey msgflg:ipcflags(sem_get)",
  msgsnd: "msqid:int msgp:pointer msgsz:ulong msgflg:flags(ipc_msg)",
  msgrcv: "msqid:int msgp:pointer msgsz:ulong msgtyp:long msgflg:flags(ipc_msg)",
  msgctl: "msqid:int cmd:ipccmd(msgctl) buf:pointer",
  mq_open: "name:path oflag:openflags mode:createmode(oflag) attr:<mq_attr(oflag) = fd",
  mq_unlink: "name:path",
  mq_timedsend: "mqdes:fd msg_ptr:<bytes(msg_len) msg_len:ulong msg_prio:uint abs_timeout:<timespec",
  mq_timedreceive: "mqdes:fd msg_ptr:>bytes msg_len:ulong msg_prio:>uint*1 abs_timeout:<timespec",
  mq_notify: "mqdes:fd sevp:<sigevent",
  mq_getsetattr: "mqdes:fd newattr:<mq_attr oldattr:>mq_attr",
} satisfies Rows;
